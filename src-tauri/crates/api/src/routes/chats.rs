use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use docent_domain::{ChatId, MessageId};
use uuid::Uuid;

use crate::ApiState;
use crate::dto::{Chat, ChatPatch, Message, NewChat, all};
use crate::error::ApiError;
use crate::extract::{Body, Segments};

/// Pinned ones first, then the most recently used.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/chats",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name")),
    responses((status = 200, body = Vec<Chat>))
)]
pub(super) async fn list_chats(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
) -> Result<Json<Vec<Chat>>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(all(state.engine.chats(&scope).await?)))
}

#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/chats",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body = NewChat,
    responses((status = 201, body = Chat))
)]
pub(super) async fn create_chat(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    Body(new): Body<NewChat>,
) -> Result<(StatusCode, Json<Chat>), ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let chat = state
        .engine
        .create_chat(&scope, new.title.as_deref())
        .await?;
    Ok((StatusCode::CREATED, Json(chat.into())))
}

#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/chats/{chat}",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name"), ("chat" = Uuid, Path)),
    responses((status = 200, body = Chat))
)]
pub(super) async fn get_chat(
    State(state): State<ApiState>,
    Segments((workspace, chat)): Segments<(String, Uuid)>,
) -> Result<Json<Chat>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(
        state
            .engine
            .chat(&scope, ChatId::from_uuid(chat))
            .await?
            .into(),
    ))
}

#[utoipa::path(
    patch,
    path = "/workspaces/{workspace}/chats/{chat}",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name"), ("chat" = Uuid, Path)),
    request_body = ChatPatch,
    responses((status = 200, body = Chat))
)]
pub(super) async fn update_chat(
    State(state): State<ApiState>,
    Segments((workspace, chat)): Segments<(String, Uuid)>,
    Body(patch): Body<ChatPatch>,
) -> Result<Json<Chat>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let chat = ChatId::from_uuid(chat);
    Ok(Json(
        state
            .engine
            .update_chat(&scope, chat, patch.title, patch.pinned)
            .await?
            .into(),
    ))
}

#[utoipa::path(
    delete,
    path = "/workspaces/{workspace}/chats/{chat}",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name"), ("chat" = Uuid, Path)),
    responses((status = 204))
)]
pub(super) async fn delete_chat(
    State(state): State<ApiState>,
    Segments((workspace, chat)): Segments<(String, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    state
        .engine
        .delete_chat(&scope, ChatId::from_uuid(chat))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// In the order they were written.
#[utoipa::path(
    get,
    path = "/workspaces/{workspace}/chats/{chat}/messages",
    tag = "chats",
    params(("workspace" = String, Path, description = "Id or name"), ("chat" = Uuid, Path)),
    responses((status = 200, body = Vec<Message>))
)]
pub(super) async fn list_messages(
    State(state): State<ApiState>,
    Segments((workspace, chat)): Segments<(String, Uuid)>,
) -> Result<Json<Vec<Message>>, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    Ok(Json(all(state
        .engine
        .messages(&scope, ChatId::from_uuid(chat))
        .await?)))
}

/// Stops an answer that is being made. What there is of it stays.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/chats/{chat}/messages/{message}/stop",
    tag = "chats",
    params(
        ("workspace" = String, Path, description = "Id or name"),
        ("chat" = Uuid, Path),
        ("message" = Uuid, Path),
    ),
    responses((status = 204))
)]
pub(super) async fn stop_message(
    State(state): State<ApiState>,
    Segments((workspace, chat, message)): Segments<(String, Uuid, Uuid)>,
) -> Result<StatusCode, ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let (chat, message) = (ChatId::from_uuid(chat), MessageId::from_uuid(message));
    state.engine.stop_message(&scope, chat, message).await?;
    Ok(StatusCode::NO_CONTENT)
}

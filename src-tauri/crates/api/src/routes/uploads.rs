//! Uploads, streamed to disk chunk by chunk: memory does not grow with the file.

use std::time::Duration;

use axum::Json;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::StatusCode;
use docent_domain::WorkspaceScope;
use docent_engine::Uploaded;

use super::metered::Meter;
use super::{DEFAULT_WORKSPACE, named_scope};
use crate::ApiState;
use crate::dto::{UploadParameters, UploadReceipt, UploadedDocument, Uploads, UploadsForm};
use crate::error::{ApiError, Code};
use crate::extract::{Parameters, Segments};

/// A form may carry this many parts; a browser's folder drop stays far below.
const MAX_PARTS: usize = 1000;

/// A sender that is silent for so long has gone.
const SILENCE: Duration = Duration::from_mins(1);

/// Adds files that are sent as a form, each in a field called `file`.
#[utoipa::path(
    post,
    path = "/workspaces/{workspace}/documents",
    tag = "documents",
    params(("workspace" = String, Path, description = "Id or name")),
    request_body(content = UploadsForm, content_type = "multipart/form-data"),
    responses((status = 201, body = Uploads))
)]
pub(super) async fn upload_documents(
    State(state): State<ApiState>,
    Segments(workspace): Segments<String>,
    request: Request,
) -> Result<(StatusCode, Json<Uploads>), ApiError> {
    let scope = state.engine.scope(&workspace).await?;
    let documents = received(&state, &scope, request).await?;
    Ok((StatusCode::CREATED, Json(Uploads { documents })))
}

/// Adds one file that is sent as a form, in a field called `file`. Without any workspace, one
/// called "default" is made.
#[utoipa::path(
    post,
    path = "/documents/upload",
    tag = "documents",
    params(UploadParameters),
    request_body(content = UploadsForm, content_type = "multipart/form-data"),
    responses((status = 200, body = UploadReceipt))
)]
pub(super) async fn upload_document(
    State(state): State<ApiState>,
    Parameters(parameters): Parameters<UploadParameters>,
    request: Request,
) -> Result<Json<UploadReceipt>, ApiError> {
    let scope = match named_scope(&state.engine, parameters.workspace.as_deref()).await {
        Err(error) if error.code() == Code::NotFound && parameters.workspace.is_none() => {
            let created = state
                .engine
                .create_workspace(DEFAULT_WORKSPACE, None)
                .await?;
            WorkspaceScope::new(created.id)
        }
        scope => scope?,
    };
    let documents = received(&state, &scope, request).await?;
    let [
        UploadedDocument {
            document_id,
            job_id,
            ..
        },
    ] = documents[..]
    else {
        let message = format!("{} files were sent and all were kept", documents.len());
        return Err(ApiError::new(Code::BadRequest, message)
            .with_hint("This address takes one file at a time."));
    };
    Ok(Json(UploadReceipt {
        status: "success",
        document_id,
        job_id,
    }))
}

async fn received(
    state: &ApiState,
    scope: &WorkspaceScope,
    request: Request,
) -> Result<Vec<UploadedDocument>, ApiError> {
    let meter = Meter::default();
    let mut form = Multipart::from_request(request.map(|body| meter.on(body)), &())
        .await
        .map_err(|rejection| ApiError::new(Code::BadRequest, rejection.body_text()))?;
    let mut documents = Vec::new();
    let mut parts = 0;
    loop {
        let field = match within_silence(form.next_field(), &meter).await {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) => return Err(partial(error, documents.len())),
        };
        parts += 1;
        if parts > MAX_PARTS {
            let message = format!("A form has at most {MAX_PARTS} parts");
            return Err(partial(
                ApiError::new(Code::PayloadTooLarge, message),
                documents.len(),
            ));
        }
        // Other fields, such as `user_id`, say nothing that matters here.
        if field.name() != Some("file") {
            continue;
        }
        match kept(state, scope, field, &meter).await {
            Ok(document) => documents.push(document),
            Err(error) => return Err(partial(error, documents.len())),
        }
    }
    if documents.is_empty() {
        return Err(ApiError::new(
            Code::BadRequest,
            "The form has no field called `file`",
        ));
    }
    Ok(documents)
}

async fn kept(
    state: &ApiState,
    scope: &WorkspaceScope,
    mut field: Field<'_>,
    meter: &Meter,
) -> Result<UploadedDocument, ApiError> {
    let Some(name) = field
        .file_name()
        .map(bare_name)
        .filter(|name| !name.is_empty())
    else {
        return Err(ApiError::new(
            Code::BadRequest,
            "A `file` needs a file name",
        ));
    };
    let mut upload = state.engine.begin_upload(scope, &name).await?;
    let limit = state.options.upload_bytes;
    let mut size: u64 = 0;
    while let Some(piece) = within_silence(field.chunk(), meter).await? {
        meter.took(piece.len());
        size += piece.len() as u64;
        if size > limit {
            let message = format!("{name} is larger than {limit} bytes, the largest upload");
            return Err(ApiError::new(Code::PayloadTooLarge, message)
                .with_hint("Put the file into a watched folder: it is then read in place."));
        }
        upload.write(&piece).await?;
    }
    let Uploaded {
        document_id,
        job_id,
    } = upload.finish().await?;
    Ok(UploadedDocument {
        name,
        document_id: *document_id.as_uuid(),
        job_id: job_id.map(|id| *id.as_uuid()),
    })
}

/// The last component, whatever separators the sender's system has.
fn bare_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or(name);
    last.chars()
        .filter(|c| !c.is_control())
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Says what became of the files before the one that failed.
fn partial(error: ApiError, kept: usize) -> ApiError {
    match kept {
        0 => error,
        1 => error.with_hint("The file before it was kept."),
        kept => error.with_hint(format!("The {kept} files before it were kept.")),
    }
}

async fn within_silence<T>(
    next: impl Future<Output = Result<T, MultipartError>>,
    meter: &Meter,
) -> Result<T, ApiError> {
    match tokio::time::timeout(SILENCE, next).await {
        Ok(Err(_)) if meter.overflowed() => Err(ApiError::new(
            Code::PayloadTooLarge,
            "Too much of the form is not a file",
        )),
        Ok(result) => Ok(result?),
        Err(_) => Err(
            ApiError::new(Code::BadRequest, "The upload stood still for too long")
                .with_status(StatusCode::REQUEST_TIMEOUT)
                .with_hint("Send the file again."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders() {
        assert_eq!(bare_name("../../etc/passwd"), "passwd");
        assert_eq!(bare_name(r"C:\Users\Ana\račun.pdf"), "račun.pdf");
        assert_eq!(bare_name("a\r\nb.txt"), "ab.txt");
        assert_eq!(bare_name("dir/"), "");
    }
}

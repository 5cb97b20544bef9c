use docent_domain::{
    Answer, ChunkKey, Citation, DocumentId, Language, MessageStatus, Role, Span, Timings,
};
use docent_store::{BootId, Entity, Error, NewMessage};

use crate::fixture::{Fixture, NOW, later};

fn question(text: &str) -> NewMessage {
    NewMessage {
        role: Role::User,
        content: text.into(),
        status: MessageStatus::Complete,
        answer: None,
    }
}

fn coming_answer() -> NewMessage {
    NewMessage {
        role: Role::Assistant,
        content: String::new(),
        status: MessageStatus::Streaming,
        answer: None,
    }
}

fn answer() -> Answer {
    Answer {
        language: Language::Croatian,
        confidence: 0.8,
        refused: false,
        citations: Vec::new(),
        nearest: Vec::new(),
        sources: vec!["/a.pdf".into()],
        model: "qwen".into(),
        timings: Timings::default(),
        error: None,
        asked_as: None,
    }
}

fn citation(document_id: DocumentId, chunk: ChunkKey, text: &str) -> Citation {
    Citation {
        n: 1,
        used: true,
        document_id,
        chunk,
        title: "Naslov > Uvod".into(),
        path: "/a.pdf".into(),
        text: text.into(),
        span: Span { start: 0, end: 3 },
        page: None,
        boxes: Vec::new(),
        place: None,
        score: 1.0,
    }
}

#[tokio::test]
async fn chats_belong_to_the_local_user_and_are_listed_by_use() {
    let mut f = Fixture::new().await;
    let chats = f.store.chats();
    let a = chats.create(&f.scope, "", NOW).await.unwrap();
    let b = chats.create(&f.scope, "b", later(1)).await.unwrap();
    let c = chats.create(&f.scope, "c", later(2)).await.unwrap();
    assert_eq!(a.owner, f.store.local_user());
    chats
        .add_message(&f.scope, a.id, question("?"), later(3))
        .await
        .unwrap();
    chats.set_pinned(&f.scope, b.id, true).await.unwrap();
    let ids = |list: Vec<docent_domain::Chat>| list.into_iter().map(|c| c.id).collect::<Vec<_>>();
    assert_eq!(ids(chats.list(&f.scope).await.unwrap()), [b.id, a.id, c.id]);
    assert_eq!(
        chats
            .rename(&f.scope, c.id, "novo", later(9))
            .await
            .unwrap()
            .title,
        "novo"
    );
    chats.delete(&f.scope, a.id).await.unwrap();
    assert!(matches!(
        chats.messages(&f.scope, a.id).await,
        Err(Error::NotFound(Entity::Chat))
    ));
    let user = f.store.local_user();
    f.restart().await;
    assert_eq!(f.store.local_user(), user, "created once");
    assert_eq!(
        ids(f.store.chats().list(&f.scope).await.unwrap()),
        [b.id, c.id]
    );
}

#[tokio::test]
async fn a_message_changes_while_it_streams_and_never_again() {
    let f = Fixture::new().await;
    let chats = f.store.chats();
    let chat = chats.create(&f.scope, "", NOW).await.unwrap();
    let turn = chats
        .add_messages(&f.scope, chat.id, &[question("Što?"), coming_answer()], NOW)
        .await
        .unwrap();
    let id = turn[1].id;
    chats
        .update_message(&f.scope, id, "Ov", MessageStatus::Streaming, None, NOW)
        .await
        .unwrap();
    let done = chats
        .update_message(
            &f.scope,
            id,
            "Ovo [1].",
            MessageStatus::Complete,
            Some(&answer()),
            NOW,
        )
        .await
        .unwrap();
    assert_eq!(done.answer, Some(answer()));
    let late = chats
        .update_message(&f.scope, id, "", MessageStatus::Failed, None, NOW)
        .await;
    assert!(matches!(late, Err(Error::MessageSettled)));
    assert_eq!(chats.get_message(&f.scope, id).await.unwrap(), done);

    chats
        .add_message(&f.scope, chat.id, question("A?"), NOW)
        .await
        .unwrap();
    let recent = chats.recent_messages(&f.scope, chat.id, 2).await.unwrap();
    let texts: Vec<&str> = recent.iter().map(|m| m.content.as_str()).collect();
    assert_eq!(texts, ["Ovo [1].", "A?"], "the last ones, oldest first");
    assert_eq!(chats.messages(&f.scope, chat.id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn answers_cut_off_by_the_end_of_the_process_are_interrupted() {
    let mut f = Fixture::new().await;
    let chat = f.store.chats().create(&f.scope, "", NOW).await.unwrap();
    let id = f
        .store
        .chats()
        .add_message(&f.scope, chat.id, coming_answer(), NOW)
        .await
        .unwrap()
        .id;
    f.store
        .chats()
        .update_message(&f.scope, id, "Do pol", MessageStatus::Streaming, None, NOW)
        .await
        .unwrap();
    f.restart().await;
    let recovery = f
        .store
        .jobs()
        .rescue_foreign(BootId::generate(), NOW)
        .await
        .unwrap();
    assert_eq!(recovery.interrupted_messages, 1);
    let message = f.store.chats().get_message(&f.scope, id).await.unwrap();
    assert_eq!(
        (message.status, message.content.as_str()),
        (MessageStatus::Interrupted, "Do pol"),
        "the text so far is kept"
    );
}

#[tokio::test]
async fn the_text_of_a_removed_document_leaves_the_answers_that_cite_it() {
    let f = Fixture::new().await;
    let chats = f.store.chats();
    let (removed, removed_keys) = f.ready("/a.pdf", &["jedan"]).await;
    let (vanished, vanished_keys) = f.ready("/c.pdf", &["tri"]).await;
    let (kept, kept_keys) = f.ready("/b.pdf", &["dva"]).await;
    let answer = Answer {
        citations: vec![
            citation(removed, removed_keys[0], "jedan"),
            citation(kept, kept_keys[0], "dva"),
            citation(vanished, vanished_keys[0], "tri"),
        ],
        nearest: vec![citation(removed, removed_keys[0], "jedan")],
        ..answer()
    };
    let chat = chats.create(&f.scope, "", NOW).await.unwrap();
    let message = NewMessage {
        answer: Some(answer.clone()),
        status: MessageStatus::Complete,
        role: Role::Assistant,
        content: "Odgovor [1].".into(),
    };
    chats
        .add_message(&f.scope, chat.id, message, NOW)
        .await
        .unwrap();
    let documents = f.store.documents();
    documents.delete(&f.scope, removed).await.unwrap();
    documents.delete_all(&f.scope, &[vanished]).await.unwrap();

    let messages = chats.messages(&f.scope, chat.id).await.unwrap();
    assert_eq!(messages[0].content, "Odgovor [1].", "its own text stays");
    let mut expected = answer;
    for n in [0, 2] {
        expected.citations[n].text.clear();
        expected.citations[n].title = "Naslov".into();
    }
    expected.nearest[0].text.clear();
    expected.nearest[0].title = "Naslov".into();
    assert_eq!(messages[0].answer, Some(expected));
}

#[tokio::test]
async fn an_answer_that_ends_after_a_removal_does_not_bring_the_text_back() {
    let f = Fixture::new().await;
    let chats = f.store.chats();
    let (removed, removed_keys) = f.ready("/a.pdf", &["jedan"]).await;
    let (kept, kept_keys) = f.ready("/b.pdf", &["dva"]).await;
    let answer = Answer {
        citations: vec![citation(removed, removed_keys[0], "jedan")],
        nearest: vec![
            citation(removed, removed_keys[0], "jedan"),
            citation(kept, kept_keys[0], "dva"),
        ],
        ..answer()
    };
    let chat = chats.create(&f.scope, "", NOW).await.unwrap();
    let coming = chats.add_message(&f.scope, chat.id, coming_answer(), NOW);
    let id = coming.await.unwrap().id;
    f.store.documents().delete(&f.scope, removed).await.unwrap();
    let complete = MessageStatus::Complete;
    let written = chats.update_message(&f.scope, id, "Jedan [1].", complete, Some(&answer), NOW);
    let written = written.await.unwrap();
    let mut expected = answer;
    for forgotten in [&mut expected.citations[0], &mut expected.nearest[0]] {
        forgotten.text.clear();
        forgotten.title = "Naslov".into();
    }
    assert_eq!(written.answer, Some(expected));
    assert_eq!(chats.get_message(&f.scope, id).await.unwrap(), written);
}

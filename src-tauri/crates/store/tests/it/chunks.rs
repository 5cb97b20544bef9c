use docent_domain::{ChunkKey, DocumentStatus, Format, Language, Origin, Progress, Stage};
use docent_store::{Claim, EmbedProgress, JobType};

use crate::fixture::{Fixture, NOW, chunk};

#[tokio::test]
async fn passages_come_in_the_order_asked_for_with_their_document() {
    let f = Fixture::new().await;
    let (a, a_keys) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    let (_, b_keys) = f.ready("/b.pdf", &["tri"]).await;
    let wanted = [b_keys[0], ChunkKey(9999), a_keys[1], a_keys[0], b_keys[0]];
    let passages = f.store.chunks().get_many(&f.scope, &wanted).await.unwrap();
    let texts: Vec<&str> = passages
        .iter()
        .map(|p| p.chunk.content.text.as_str())
        .collect();
    assert_eq!(
        texts,
        ["tri", "dva", "jedan", "tri"],
        "in order, repeats kept, missing left out"
    );
    let dva = &passages[1];
    assert_eq!(
        dva.chunk.content,
        chunk("dva"),
        "a chunk survives the round trip whole"
    );
    assert_eq!((dva.chunk.document_id, dva.chunk.ordinal), (a, 1));
    assert_eq!((dva.title.as_str(), dva.path.as_str()), ("a.pdf", "/a.pdf"));
    assert_eq!(
        (dva.origin, dva.format, dva.language),
        (Origin::File, Some(Format::Pdf), Some(Language::Croatian))
    );
    assert!(
        f.store
            .chunks()
            .get_many(&f.scope, &[])
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn neighbours_stop_at_the_ends() {
    let f = Fixture::new().await;
    let (id, _) = f.ready("/a.pdf", &["0", "1", "2", "3"]).await;
    let chunks = f.store.chunks();
    for (ordinal, expected) in [(0, "01"), (1, "012"), (3, "23"), (9, "")] {
        let around: String = chunks
            .neighbours(&f.scope, id, ordinal, 1, 1)
            .await
            .unwrap()
            .into_iter()
            .map(|c| c.content.text)
            .collect();
        assert_eq!(around, expected, "around {ordinal}");
    }
    assert_eq!(chunks.of_document(&f.scope, id).await.unwrap().len(), 4);
}

#[tokio::test]
async fn embedding_advances_by_batches_until_the_document_is_ready() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let keys = f.read(id, &["jedan", "dva", "tri"]).await.added;
    let chunks = f.store.chunks();
    let waiting = chunks.unembedded(&f.scope, Some(id), 2).await.unwrap();
    assert_eq!(waiting.iter().map(|e| e.key).collect::<Vec<_>>(), keys[..2]);
    assert_eq!(waiting[0].title, "a.pdf");
    assert_eq!(waiting[0].heading_path, ["Uvod", "1.1 Što"]);
    assert_eq!(waiting[0].language, Language::Croatian);
    assert_eq!(
        chunks.unembedded(&f.scope, None, 10).await.unwrap().len(),
        3
    );

    let job = f.claim(JobType::Embed).await;
    let claim = Claim::from(&job);
    let progress = chunks
        .mark_embedded(&f.scope, id, &keys[..2], claim, NOW)
        .await
        .unwrap();
    assert_eq!(
        progress,
        EmbedProgress {
            embedded: 2,
            total: 3
        }
    );
    assert_eq!(f.get(id).await.status, DocumentStatus::Words);
    let running = f.store.jobs().get(&f.scope, job.id).await.unwrap();
    assert_eq!(running.stage, Some(Stage::Embedding));
    assert_eq!(running.progress, Progress { done: 2, total: 3 });
    assert_eq!(chunks.unembedded_keys(&f.scope).await.unwrap(), keys[2..]);

    // The same batch once more, as after a crash between the index and the rows.
    let again = chunks
        .mark_embedded(&f.scope, id, &keys[..2], claim, NOW)
        .await
        .unwrap();
    assert_eq!(again.embedded, 2, "marking is idempotent");
    let unknown = [keys[2], ChunkKey(777)];
    let progress = chunks
        .mark_embedded(&f.scope, id, &unknown, claim, NOW)
        .await
        .unwrap();
    assert!(progress.is_complete());
    assert_eq!(f.get(id).await.status, DocumentStatus::Ready);
    assert_eq!(f.store.jobs().counts(&f.scope).await.unwrap().done, 2);
}

#[tokio::test]
async fn lost_vectors_are_made_again() {
    let f = Fixture::new().await;
    let (a, a_keys) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    let (b, _) = f.ready("/b.pdf", &["tri"]).await;
    let lost = [a_keys[1], ChunkKey(4_000_000_000)];
    let chunks = f.store.chunks();
    assert_eq!(
        chunks.reset_embedded(&f.scope, &lost, NOW).await.unwrap(),
        1
    );
    assert_eq!(
        chunks.reset_embedded(&f.scope, &lost, NOW).await.unwrap(),
        0
    );
    let document = f.get(a).await;
    assert_eq!(
        (document.status, document.embedded_count),
        (DocumentStatus::Words, 1)
    );
    assert_eq!(
        f.get(b).await.status,
        DocumentStatus::Ready,
        "the other one kept its vectors"
    );
    assert_eq!(f.store.check().await.unwrap().findings, []);
    f.embed(a, &a_keys[1..]).await;
    assert_eq!(f.get(a).await.status, DocumentStatus::Ready);
}

#[tokio::test]
async fn index_entries_come_by_key() {
    let f = Fixture::new().await;
    let (_, keys) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    let chunks = f.store.chunks();
    assert_eq!(chunks.all_keys(&f.scope).await.unwrap(), keys);
    let entries = chunks
        .entries_for_keys(&f.scope, &[keys[1], keys[0]])
        .await
        .unwrap();
    let texts: Vec<&str> = entries.iter().map(|e| e.text.as_str()).collect();
    assert_eq!(texts, ["dva", "jedan"]);
}

#[tokio::test]
async fn equal_content_has_equal_chunks() {
    let f = Fixture::new().await;
    let (_, having) = f.ready("/a.pdf", &["jedan", "dva"]).await;
    let id = f.register("/kopija.pdf").await.id;
    let lacking = f.read(id, &["jedan", "dva"]).await.added;
    let other = f.register("/drugo.pdf").await.id;
    f.read(other, &["jedan", "četiri"]).await;
    let chunks = f.store.chunks();
    let twins: Vec<_> = lacking.into_iter().zip(having).collect();
    assert_eq!(chunks.embedded_twins(&f.scope, id).await.unwrap(), twins);
    assert_eq!(
        chunks.embedded_twins(&f.scope, other).await.unwrap(),
        [],
        "a chunk that is alike makes no equal content"
    );
}

#[tokio::test]
async fn vectors_that_nobody_recorded_are_adopted() {
    let f = Fixture::new().await;
    let id = f.register("/a.pdf").await.id;
    let keys = f.read(id, &["jedan", "dva"]).await.added;
    let chunks = f.store.chunks();
    let adopt = async |keys| chunks.adopt_embedded(&f.scope, keys, NOW).await.unwrap();
    assert_eq!(adopt(&keys[..1]).await, 1);
    assert_eq!(f.get(id).await.status, DocumentStatus::Words);
    assert_eq!(adopt(&keys).await, 1);
    assert_eq!(adopt(&keys).await, 0);
    let document = f.get(id).await;
    assert_eq!(document.status, DocumentStatus::Ready);
    assert_eq!(document.embedded_count, 2);
    // The job that is still queued has nothing to do.
    let job = f.claim(JobType::Embed).await;
    assert_eq!(chunks.unembedded(&f.scope, Some(id), 9).await.unwrap(), []);
    f.store
        .jobs()
        .finish(&f.scope, Claim::from(&job), NOW)
        .await
        .unwrap();
    assert_eq!(f.get(id).await.status, DocumentStatus::Ready);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

//! What cancelling a long queue takes, and queueing it again, for whoever wants to repeat it:
//! `DOCENT_MEASURE=100000 cargo test -p docent-store measure -- --nocapture` (documents). Without
//! the variable nothing is measured.

use std::time::Instant;

use docent_store::Over;

use crate::fixture::{Fixture, NOW, file};

#[tokio::test]
async fn measure_the_control_of_a_long_queue() {
    let Ok(count) = std::env::var("DOCENT_MEASURE") else {
        return;
    };
    let count: usize = count.parse().unwrap();
    let f = Fixture::new().await;
    for start in (0..count).step_by(1000) {
        let files: Vec<_> = (start..count.min(start + 1000))
            .map(|n| file(&format!("/home/somebody/documents/{}/{n}.pdf", n / 100)))
            .collect();
        f.store
            .documents()
            .register_all(&f.scope, &files, NOW)
            .await
            .unwrap();
    }
    let jobs = f.store.jobs();
    for _ in 0..3 {
        let started = Instant::now();
        let cancelled = jobs.cancel_all(&f.scope, NOW).await.unwrap();
        println!("{cancelled} cancelled in {:.2?}", started.elapsed());
        let started = Instant::now();
        let revived = jobs
            .retry_all(&f.scope, Over::Cancelled, NOW)
            .await
            .unwrap();
        println!("{revived} queued again in {:.2?}", started.elapsed());
        assert_eq!((cancelled, revived), (count as u64, count as u64));
    }
}

//! Settings, flags and limits.

use docent_domain::Limit;
use serde_json::json;

use crate::fixture::{Fixture, NOW, workspace};

#[tokio::test]
async fn settings_hold_any_json() {
    let mut f = Fixture::new().await;
    let settings = f.store.settings();
    assert_eq!(settings.get::<String>("generator").await.unwrap(), None);
    settings
        .set("generator", &"qwen2.5-0.5b", NOW)
        .await
        .unwrap();
    settings
        .set("generator", &"qwen2.5-1.5b", NOW)
        .await
        .unwrap();
    settings.set("window", &json!({"w": 3}), NOW).await.unwrap();
    f.restart().await;
    let settings = f.store.settings();
    assert_eq!(
        settings
            .get::<String>("generator")
            .await
            .unwrap()
            .as_deref(),
        Some("qwen2.5-1.5b")
    );
    assert!(
        settings.get::<u32>("generator").await.is_err(),
        "a value of another type is an error, not a default"
    );
    assert!(settings.remove("window").await.unwrap());
    assert!(!settings.remove("window").await.unwrap());
}

#[tokio::test]
async fn a_workspaces_flag_goes_before_the_default() {
    let f = Fixture::new().await;
    let other = workspace(&f.store, "B").await;
    let flags = f.store.flags();
    assert_eq!(flags.get(&f.scope, "advanced_rag").await.unwrap(), None);
    for enabled in [true, false] {
        flags
            .set_default("advanced_rag", enabled, &json!({}), NOW)
            .await
            .unwrap();
    }
    flags
        .set(&f.scope, "advanced_rag", true, &json!({"k": 1}), NOW)
        .await
        .unwrap();
    flags
        .set(&f.scope, "debug_mode", true, &json!(null), NOW)
        .await
        .unwrap();
    let own = flags.get(&f.scope, "advanced_rag").await.unwrap().unwrap();
    assert_eq!((own.enabled, own.config), (true, json!({"k": 1})));
    assert!(
        !flags
            .get(&other, "advanced_rag")
            .await
            .unwrap()
            .unwrap()
            .enabled
    );
    let names = |list: Vec<docent_domain::FeatureFlag>| {
        list.into_iter()
            .map(|f| (f.name, f.enabled))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        names(flags.list(&f.scope).await.unwrap()),
        [("advanced_rag".into(), true), ("debug_mode".into(), true)]
    );
    assert_eq!(
        names(flags.list(&other).await.unwrap()),
        [("advanced_rag".into(), false)]
    );
    assert!(flags.clear(&f.scope, "advanced_rag").await.unwrap());
    assert!(
        !flags
            .get(&f.scope, "advanced_rag")
            .await
            .unwrap()
            .unwrap()
            .enabled
    );
}

#[tokio::test]
async fn limits_are_per_workspace_and_operation() {
    let f = Fixture::new().await;
    let other = workspace(&f.store, "B").await;
    let limits = f.store.limits();
    let limit = Limit {
        operation: "rag_query".into(),
        max: 100,
        window_seconds: 3600,
    };
    limits.set(&f.scope, &limit, NOW).await.unwrap();
    let limit = Limit { max: 5, ..limit };
    limits.set(&f.scope, &limit, NOW).await.unwrap();
    assert_eq!(
        limits.get(&f.scope, "rag_query").await.unwrap(),
        Some(limit.clone())
    );
    assert_eq!(limits.list(&f.scope).await.unwrap(), [limit]);
    assert_eq!(limits.get(&other, "rag_query").await.unwrap(), None);
    assert!(limits.remove(&f.scope, "rag_query").await.unwrap());
    assert_eq!(limits.list(&f.scope).await.unwrap(), []);
}

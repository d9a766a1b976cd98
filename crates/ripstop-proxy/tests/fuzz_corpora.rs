//! What fuzzing has found is looked at in every run of the tests: `make fuzz` finds more.
use ripstop_proxy::tls::{inspector, proxy_protocol};
use std::path::Path;

#[path = "../../../fuzz/src/targets.rs"]
mod targets;

#[test]
fn nothing_that_was_ever_found_is_a_finding_again() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, target) in targets::ALL {
        let inputs = std::fs::read_dir(corpora.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut count = 0;
        for input in inputs.flatten() {
            let data = std::fs::read(input.path()).expect("an input");
            let run = std::panic::AssertUnwindSafe(|| target(&data));
            assert!(std::panic::catch_unwind(run).is_ok(), "{}", input.path().display());
            count += 1;
        }
        assert!(count > 0, "the corpus of {name} is empty");
    }
}

//! Bytes from anybody: nothing panics, and what is refused says why.
use super::*;
use proptest::prelude::*;

fn all(bytes: &[u8]) {
    let _ = listener(bytes, &NoFiles);
    let _ = route_configuration(bytes);
    let _ = scoped_route(bytes);
    let _ = cluster(bytes, &NoFiles);
    let _ = load_assignment(bytes);
    let _ = secret(bytes, &NoFiles);
    let _ = bootstrap(bytes, &NoFiles);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        all(&bytes);
    }

    #[test]
    fn a_resource_with_some_bytes_changed_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = listeners::with(&manager()).encode_to_vec();
        for (at, byte) in &changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        all(&bytes);
        let mut bytes = routes().encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Err(refused) = route_configuration(&bytes) {
            prop_assert!(!refused.faults.is_empty());
        }
    }

    #[test]
    fn a_template_never_panics(text in "[%A-Z_():a-z?\\[\\]\",0-9 ]{0,60}") {
        let _ = super::super::template(&text);
    }
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let refused = cluster(&[0xff; 8], &NoFiles).unwrap_err();
    assert_eq!(refused.faults.len(), 1);
}

#[test]
fn the_number_of_faults_told_is_bounded() {
    let mut made = routes();
    made.virtual_hosts = vec![route::VirtualHost::default(); 500];
    assert_eq!(route_configuration(&made.encode_to_vec()).unwrap_err().faults.len(), 64);
}

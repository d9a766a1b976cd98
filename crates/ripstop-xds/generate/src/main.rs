//! `generate-xds DESCRIPTORS OUT_DIR`: messages of Envoy's API as Rust code, one file for all packages.
use prost::Message;
use std::{fs, path::PathBuf};

fn main() {
    let mut args = std::env::args().skip(1);
    let descriptors = fs::read(args.next().expect("DESCRIPTORS")).expect("descriptors");
    let out = PathBuf::from(args.next().expect("OUT_DIR"));
    fs::create_dir_all(&out).expect("OUT_DIR");
    let set = prost_types::FileDescriptorSet::decode(&*descriptors).expect("a FileDescriptorSet");
    let mut config = prost_build::Config::new();
    config.out_dir(&out).include_file("mod.rs").btree_map(["."]).disable_comments(["."]);
    // Every message can be told by its type URL (google.protobuf.Any).
    config.enable_type_names().type_name_domain(["."], "type.googleapis.com");
    config.compile_fds(set).expect("generated");
}

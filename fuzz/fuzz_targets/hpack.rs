#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| ripstop_fuzz::targets::hpack(data));

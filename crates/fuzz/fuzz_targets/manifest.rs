#![no_main]
libfuzzer_sys::fuzz_target!(init: goldfish_fuzz::prepare(), |data: &[u8]| goldfish_fuzz::manifest(data));

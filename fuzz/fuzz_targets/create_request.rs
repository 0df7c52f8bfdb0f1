//! Any JSON is a request or a refusal that names the field.

#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::dialect::{chat_completions, responses};
use protocol::fault::Fault;
use serde_json::Value;

fn check<T>(body: &Value, result: Result<T, Fault>) {
    if let Err(fault) = result {
        assert!(fault.param.is_some() || !body.is_object(), "{fault:?}");
        assert_eq!(fault.status, 400, "{fault:?}");
        assert!(!fault.message.is_empty() && !fault.code.is_empty(), "{fault:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    let Ok(body) = serde_json::from_slice::<Value>(input) else { return };
    check(&body, responses::read_create(&body));
    check(&body, responses::read_count(&body));
    check(&body, chat_completions::read_create(&body));
});

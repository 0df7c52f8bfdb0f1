//! The classic pages with every provider: the text, and faults as text on the page.

use client::soon;
use fakes::{Script, Vendor, VendorError};

use super::vendors::{VendorServers, WaitLimit, model};
use crate::classic::{UID, ask, told};
use crate::test_server::TestServerPlan;

#[tokio::test]
async fn the_classic_pages_work_with_every_provider() {
    for vendor in Vendor::ALL {
        let plan =
            TestServerPlan::server(|server| server.classic.model = Some(model(vendor, "text")));
        let vendors = VendorServers::open_with(plan, &[("text", WaitLimit::Usual)], |_| {}).await;
        vendors.fake(vendor).script(Script::reasoning(&["Hm."], &["Hel", "lo"]));
        let (_tokens, stream) = ask(&vendors.test_server, UID, "hello").await;
        assert_eq!(told(stream).await, "Hello", "{vendor:?}");

        vendors.fake(vendor).script(Script::refused_as(VendorError::Internal));
        let (_tokens, mut stream) = ask(&vendors.test_server, UID, "hello").await;
        let (events, _) = soon(stream.collect()).await.unwrap().unwrap();
        let fault = events
            .iter()
            .find(|event| event.name.as_deref() == Some("fault"))
            .unwrap()
            .json()
            .unwrap();
        assert_eq!(fault["code"], "upstream_error", "{vendor:?}: {fault}");
        assert_eq!(
            events.last().map(|event| &*event.data),
            Some(b"[DONE]".as_slice()),
            "{vendor:?}: the page hears the end"
        );
        assert_eq!(vendors.fake(vendor).requests().len(), 2, "{vendor:?}");
        vendors.close().await;
    }
}

//! Any packets, of any link layer, are counted once; what they make is within its bounds, and can be read and drawn.

#![no_main]

mod pieces;

use lens::flow::FlowTable;
use lens::flow::limits::FlowLimits;
use lens::flow::side::Side;
use lens::http::read_connection;
use lens::ladder::{LadderOptions, draw};
use lens::moment::Moment;
use lens::packet::decode;
use lens::packet::link::LinkType;
use libfuzzer_sys::fuzz_target;

const LINKS: [LinkType; 5] = [LinkType::Raw, LinkType::Ethernet, LinkType::Cooked, LinkType::Cooked2, LinkType::Null];
const LIMITS: FlowLimits = FlowLimits { connections: 3, segments: 64, stream_bytes: 4096, pending_bytes: 1024 };

fuzz_target!(|input: &[u8]| {
    let Some((link, input)) = input.split_first() else { return };
    let link = LINKS[usize::from(*link) % LINKS.len()];
    let (_, packets) = pieces::split(input);
    let mut flows = FlowTable::new(LIMITS);
    let mut segments = 0;
    for (at, packet) in (0..).zip(packets) {
        let Ok(packet) = decode(link, packet) else { continue };
        segments += u64::from(flows.push(Moment(at * 1000), 1500, &packet).is_some());
    }
    assert!(flows.iter().count() <= LIMITS.connections);
    let held: u64 = flows.iter().map(|(_, connection)| connection.total_segments()).sum();
    assert!(held <= segments);
    for (_, connection) in flows.iter() {
        assert!(connection.segments().len() <= LIMITS.segments);
        let conversation = read_connection(connection);
        for side in Side::ALL {
            let direction = connection.directions.of(side);
            assert!(direction.stream.bytes().len() <= LIMITS.stream_bytes);
            assert_eq!(conversation.readings.of(side).sums().total(), direction.stream.length());
        }
        assert!(draw(connection, &conversation, &LadderOptions::default()).ends_with("</svg>\n"));
    }
});

//! `kill -9` of the real process during fifty responses in all frames: no event is missing, repeated or changed, and
//! every response ends (promises 1 to 3), also if recovery itself is killed.
//!
//! `WEIR_CRASH_ROUNDS` sets the number of rounds (3 by default), `WEIR_CRASH_SEED` repeats a run.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::time::Duration;

use ::client::{Connection, Request};
use fakes::Script;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::watch;

use self::check::text_of;
use self::client::{CrashClient, CrashOutcome, KINDS, offering, value};
use self::script::{Dice, ExpectedContent, script};
use crate::program::reader::{WAYS, read};
use crate::program::{RunningServer, ServerHome, ask, with};

mod check;
mod client;
pub(crate) mod script;

const ANSWERS: usize = 50;

/// How many earlier responses are checked in each round, and at the end.
const SAMPLE: usize = 12;
const LAST_SAMPLE: usize = 400;

/// The model's text for repeated requests.
const AGAIN: &str = "again ";

#[tokio::test]
async fn responses_survive_kill_9() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|error| panic!("{name}: {error}")))
    };
    let rounds = number("WEIR_CRASH_ROUNDS").unwrap_or(3);
    let seed = number("WEIR_CRASH_SEED")
        .unwrap_or_else(|| RandomState::new().hash_one(std::process::id()));
    eprintln!("crash: {rounds} rounds of {ANSWERS} answers, WEIR_CRASH_SEED={seed}");
    let mut world = World::open(seed).await;
    for round in 0..rounds {
        let figures = world.round(usize::try_from(round).unwrap()).await;
        eprintln!("crash: round {round}: {figures:?}, back in {} ms", world.start.as_millis());
    }
    let total = world.close().await;
    eprintln!("crash: all: {total:?}");
    assert!(
        total.cut > 0 && total.ended > 0 && total.recovered > 0,
        "the kills came at the wrong moments"
    );
}

/// One data directory for all rounds.
struct World {
    place: ServerHome,
    server: RunningServer,
    dice: Dice,
    said: HashMap<String, ExpectedContent>,
    /// The ids and logs of all ended responses.
    kept: Vec<(String, u64)>,
    total: Figures,
    /// The duration of the last start.
    start: Duration,
}

#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Events that clients had read when the process was killed.
    before: usize,
    /// Events they read after the restart.
    recovered: usize,
    /// Responses cut off by the crash.
    cut: usize,
    /// Responses that had ended.
    ended: usize,
    /// Responses without an id at the client, or repeated with their key.
    without: usize,
    /// How often recovery was killed.
    kills: usize,
}

impl World {
    async fn open(seed: u64) -> Self {
        let place = ServerHome::new().await;
        place.upstream.default_script(Script::text(&[AGAIN, "and ", "again"]));
        let said =
            ExpectedContent { text: format!("{AGAIN}and again"), ..ExpectedContent::default() };
        let server = place.start().await;
        Self {
            place,
            server,
            dice: Dice::new(seed),
            said: HashMap::from([(AGAIN.trim_end().to_owned(), said)]),
            kept: Vec::new(),
            total: Figures::default(),
            start: Duration::from_millis(50),
        }
    }

    async fn round(&mut self, round: usize) -> Figures {
        // In every fifth round many responses have not started yet.
        let is_early = round % 5 == 2;
        let clients = self.run_and_kill(round, is_early).await;
        let mut figures =
            Figures { before: clients.iter().map(CrashClient::heard).sum(), ..Figures::default() };
        if round % 2 == 1 {
            for _ in 0..=self.dice.below(3) {
                figures.kills += usize::from(self.kill_recovery().await);
            }
        }
        let began = ::client::now();
        let server = self.place.start().await;
        self.start = began.elapsed();
        let address = server.address;
        drop(std::mem::replace(&mut self.server, server));

        let returning = clients
            .iter()
            .enumerate()
            .map(|(number, client)| client.come_back(address, round + number, &self.said));
        let outcomes = join_all(returning.map(Box::pin)).await;
        let mut cut = Vec::new();
        for outcome in outcomes {
            match outcome {
                CrashOutcome::Unheard | CrashOutcome::Repeated => figures.without += 1,
                CrashOutcome::Ended { ended, is_cut, recovered, kept } => {
                    figures.recovered += recovered;
                    *(if is_cut { &mut figures.cut } else { &mut figures.ended }) += 1;
                    self.kept.extend(kept.map(|(id, log)| (id, hash(&log))));
                    cut.extend(
                        ended.filter(|ended| ended.is_cut && !text_of(&ended.response).is_empty()),
                    );
                }
            }
        }
        self.look_back(SAMPLE).await;
        if let Some(ended) = cut.first() {
            self.go_on(&ended.response).await;
        }
        self.total += figures;
        figures
    }

    /// Starts all responses and kills the server once its clients have read a certain number of events.
    async fn run_and_kill(&mut self, round: usize, is_early: bool) -> Vec<CrashClient> {
        let asked = self.place.upstream.requests().len();
        let mut expected = 0;
        for number in 0..ANSWERS {
            let label = format!("r{round}a{number}");
            let (script, said) = script(&mut self.dice, &label, number, !is_early);
            self.place.upstream.script(script);
            expected += said.events * 2 / 3;
            self.said.insert(label, said);
        }
        let target = if is_early {
            self.dice.below(2 * ANSWERS)
        } else {
            self.dice.below(expected * 7 / 10)
        };
        let (count, mut seen) = watch::channel(0);
        let clients = (0..ANSWERS).map(|number| {
            CrashClient::new(KINDS[number % KINDS.len()], format!("c{round}.{number}"))
        });
        let listening =
            join_all(clients.map(|client| Box::pin(client.listen(self.server.address, &count))));
        let kill = async {
            if !is_early {
                ::client::soon(self.place.upstream.wait_requests(asked + ANSWERS)).await.unwrap();
            }
            ::client::soon(seen.wait_for(|count| *count >= target)).await.unwrap().unwrap();
            self.server.kill().await;
        };
        let (clients, ()) = tokio::join!(listening, kill);
        self.drop_scripts().await;
        clients
    }

    /// Removes unused scripts: a repeated request must not get one that never ends.
    async fn drop_scripts(&self) {
        let upstream = &self.place.upstream;
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": "nobody" }], "stream": true });
        let nobody = Request::post("/v1/chat/completions", &body);
        let mut connections = Vec::new();
        for _ in 0..upstream.scripts_left() {
            let mut connection = Connection::open(upstream.address()).await.unwrap();
            connection.write(&nobody).await.unwrap();
            connections.push(connection);
        }
        let taken = async {
            while upstream.scripts_left() > 0 {
                tokio::task::yield_now().await;
            }
        };
        ::client::soon(taken).await.unwrap();
    }

    /// Starts the server and kills it at once. Returns whether it was killed before it was ready.
    async fn kill_recovery(&mut self) -> bool {
        let longest = usize::try_from(self.start.as_micros()).unwrap();
        let starting = self.place.spawn();
        // The time of the crash; nothing is awaited here.
        tokio::time::sleep(Duration::from_micros(self.dice.below(longest) as u64)).await;
        starting.kill().await
    }

    /// Checks that responses of earlier rounds are unchanged.
    async fn look_back(&mut self, most: usize) {
        let sample: Vec<usize> =
            (0..most.min(self.kept.len())).map(|_| self.dice.below(self.kept.len())).collect();
        let address = self.server.address;
        let looks = sample.iter().map(|index| {
            let (id, expected) = &self.kept[*index];
            async move {
                let log = read(address, WAYS[index % WAYS.len()], id, None).await;
                assert_eq!(hash(&log), *expected, "{id} has changed:\n{}", log.join("\n"));
            }
        });
        // A few at a time.
        let mut looks: Vec<_> = looks.collect();
        while !looks.is_empty() {
            join_all(looks.drain(..looks.len().min(SAMPLE)).map(Box::pin)).await;
        }
    }

    /// Continues the conversation after a truncated response, with its partial text.
    async fn go_on(&self, cut: &Value) {
        let more = json!({ "previous_response_id": cut["id"], "store": false });
        let response =
            value(self.server.address, &ask(&with(offering("go on"), &more))).await.unwrap();
        assert_eq!(response["status"], "completed");
        let requests = self.place.upstream.requests();
        let last = requests.last().unwrap().body["messages"].to_string();
        let text = serde_json::to_string(&text_of(cut)).unwrap();
        assert!(last.contains(&text), "{text} is not in {last}");
    }

    async fn close(mut self) -> Figures {
        self.look_back(LAST_SAMPLE).await;
        self.server.stop().await;
        self.total
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.before += other.before;
        self.recovered += other.recovered;
        self.cut += other.cut;
        self.ended += other.ended;
        self.without += other.without;
        self.kills += other.kills;
    }
}

fn hash(log: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    log.hash(&mut hasher);
    hasher.finish()
}

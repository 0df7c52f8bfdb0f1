//! Slots are fair and bounded; failing keys go out of use and come back.

use engine::upstreams::KeyHealth;
use futures_util::FutureExt;

use super::slot::MOST_MODELS;
use super::*;
use crate::config::Preset;

fn pool(strategy: Strategy, concurrency: &[usize], queue: usize) -> Arc<Pool> {
    let mut config = UpstreamConfig::new("north", Preset::Compatible, "http://127.0.0.1:9/v1");
    let key = |(number, concurrency): (usize, &usize)| KeyConfig {
        concurrency: *concurrency,
        ..KeyConfig::new(format!("key {number}"), Secret::new(format!("sk-{number}")))
    };
    config.keys = concurrency.iter().enumerate().map(key).collect();
    (config.strategy, config.queue) = (strategy, queue);
    Pool::new(&config)
}

fn failure(scope: FailureScope) -> ProviderFailure {
    ProviderFailure::new(Fault::new(FaultKind::Upstream, "made_up", "said"), scope)
}

fn key(seat: &PoolPermit) -> &str {
    seat.key().unwrap().reveal()
}

#[tokio::test]
async fn the_least_busy_key_is_used() {
    let pool = pool(Strategy::LeastBusy, &[0, 0], 0);
    let first = pool.seat("m", None).await.unwrap();
    let second = pool.seat("m", None).await.unwrap();
    assert_ne!(key(&first), key(&second));
    let freed = key(&first).to_owned();
    drop(first);
    assert_eq!(key(&pool.seat("m", None).await.unwrap()), freed);
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_are_served_in_order_without_those_that_left() {
    let pool = pool(Strategy::LeastBusy, &[1], 10);
    let seat = pool.seat("m", None).await.unwrap();
    let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.seat("m", None))).collect();
    for one in &mut waiting {
        assert!(one.now_or_never().is_none());
    }
    assert_eq!(pool.waiting(), 3);
    // A later request does not overtake, even while a slot is free for a moment.
    let mut late = Box::pin(pool.seat("m", None));
    assert!((&mut late).now_or_never().is_none());
    drop(waiting.remove(0));
    drop(seat);
    let second = (&mut waiting[0]).now_or_never().unwrap().unwrap();
    assert!((&mut waiting[1]).now_or_never().is_none());
    drop(second);
    assert!((&mut waiting[1]).now_or_never().is_some());
}

#[tokio::test]
async fn a_slot_assigned_to_a_request_that_left_goes_to_the_next() {
    let pool = pool(Strategy::LeastBusy, &[1], 10);
    let seat = pool.seat("m", None).await.unwrap();
    let mut first = Box::pin(pool.seat("m", None));
    let mut second = Box::pin(pool.seat("m", None));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    drop(seat);
    drop(first);
    assert!((&mut second).now_or_never().is_some());
    drop(second);
    assert_eq!(pool.keys()[0].running, 0);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_in_number_and_time() {
    let pool = pool(Strategy::LeastBusy, &[1], 1);
    let _seat = pool.seat("m", None).await.unwrap();
    let mut waiting = Box::pin(pool.seat("m", None));
    assert!((&mut waiting).now_or_never().is_none());
    let full = pool.seat("m", None).await.unwrap_err();
    assert_eq!(
        (full.fault.status, full.fault.code.as_str(), full.fault.retry_after),
        (429, "upstream_queue_full", Some(1))
    );
    assert_eq!(waiting.await.unwrap_err().fault.code, "upstream_queue_full");
    assert_eq!(pool.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_key_pauses_as_long_as_asked_and_others_take_over() {
    let pool = pool(Strategy::Order, &[0, 0], 0);
    let seat = pool.seat("m", None).await.unwrap();
    seat.failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(7)))));
    assert_eq!(pool.keys()[0].health, KeyHealth::Cooling(Duration::from_secs(7)));
    assert_eq!(key(&pool.seat("m", None).await.unwrap()), "sk-1");
    pool.seat("m", None)
        .await
        .unwrap()
        .failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(30)))));
    let none = pool.seat("m", None).await.unwrap_err();
    assert_eq!(
        (none.fault.retry_after, none.scope),
        (Some(7), FailureScope::RateLimited(Some(Duration::from_secs(7))))
    );
    assert!(!pool.is_usable("m"));
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(key(&pool.seat("m", None).await.unwrap()), "sk-0");
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_is_out_of_use_for_longer_each_time() {
    let pool = pool(Strategy::Order, &[0, 0], 0);
    for expected in [30, 60, 120, 240, 480, 600, 600] {
        let seat = pool.seat("m", None).await.unwrap();
        assert_eq!(key(&seat), "sk-0");
        seat.failed(&failure(FailureScope::Credential));
        assert_eq!(pool.keys()[0].health, KeyHealth::Refused(Duration::from_secs(expected)));
        assert_eq!(key(&pool.seat("m", None).await.unwrap()), "sk-1");
        tokio::time::advance(Duration::from_secs(expected)).await;
    }
    let seat = pool.seat("m", None).await.unwrap();
    seat.succeeded();
    seat.failed(&failure(FailureScope::Quota));
    assert_eq!(pool.keys()[0].health, KeyHealth::Empty(Duration::from_secs(30)));
    pool.seat("m", None).await.unwrap().failed(&failure(FailureScope::Credential));
    let none = pool.seat("m", None).await.unwrap_err();
    assert_eq!((none.scope, none.fault.retry_after), (FailureScope::Quota, None));
}

#[tokio::test]
async fn the_only_key_is_used_even_if_refused_but_not_if_rate_limited() {
    let pool = pool(Strategy::Order, &[0], 0);
    pool.seat("m", None).await.unwrap().failed(&failure(FailureScope::Credential));
    assert!(!pool.is_usable("m") && matches!(pool.keys()[0].health, KeyHealth::Refused(_)));
    let seat = pool.seat("m", None).await.unwrap();
    seat.succeeded();
    assert_eq!(pool.keys()[0].health, KeyHealth::Well);
    seat.failed(&failure(FailureScope::RateLimited(None)));
    assert!(pool.seat("m", None).await.is_err());
}

#[tokio::test]
async fn with_key_rest_zero_no_key_goes_out_of_use() {
    let mut config = UpstreamConfig::new("north", Preset::Compatible, "http://127.0.0.1:9/v1");
    config.key_rest = Duration::ZERO;
    let pool = Pool::new(&config);
    for scope in [
        FailureScope::Credential,
        FailureScope::RateLimited(Some(Duration::from_secs(9))),
        FailureScope::Upstream(Some(Duration::from_secs(9))),
    ] {
        pool.seat("m", None).await.unwrap().failed(&failure(scope));
        assert_eq!(pool.keys()[0].health, KeyHealth::Well);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_requests_fail_when_no_key_is_left() {
    let pool = pool(Strategy::Order, &[1, 1], 10);
    let seats = [pool.seat("m", None).await.unwrap(), pool.seat("m", None).await.unwrap()];
    let mut waiting = Box::pin(pool.seat("m", None));
    assert!((&mut waiting).now_or_never().is_none());
    for seat in &seats {
        seat.failed(&failure(FailureScope::Credential));
    }
    drop(seats);
    assert_eq!(waiting.await.unwrap_err().scope, FailureScope::Credential);
}

/// A waiting request was served only when a long response ended, even if another key had come back
/// before.
#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_is_given_to_a_waiting_request() {
    let pool = pool(Strategy::Order, &[1, 1], 10);
    let long = pool.seat("m", None).await.unwrap();
    let short = pool.seat("m", None).await.unwrap();
    let mut waiting = Box::pin(pool.seat("m", None));
    assert!((&mut waiting).now_or_never().is_none());
    short.failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(7)))));
    drop(short);
    assert!((&mut waiting).now_or_never().is_none());
    let began = Instant::now();
    assert_eq!(key(&waiting.await.unwrap()), "sk-1");
    assert_eq!((began.elapsed().as_secs(), key(&long)), (7, "sk-0"));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_does_not_get_all_requests() {
    let pool = pool(Strategy::RoundRobin, &[0, 0], 0);
    pool.seat("m", None)
        .await
        .unwrap()
        .failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(60)))));
    for _ in 0..20 {
        assert_eq!(key(&pool.seat("m", None).await.unwrap()), "sk-1");
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let mut seats = Vec::new();
    for _ in 0..6 {
        seats.push(key(&pool.seat("m", None).await.unwrap()).to_owned());
    }
    assert_eq!(seats.iter().filter(|key| *key == "sk-0").count(), 3);
}

#[tokio::test]
async fn failures_in_other_scopes_do_not_affect_a_key() {
    let pool = pool(Strategy::Order, &[0], 0);
    for scope in [FailureScope::Request, FailureScope::Unsupported, FailureScope::Upstream(None)] {
        pool.seat("m", None).await.unwrap().failed(&failure(scope));
        assert_eq!(pool.keys()[0].health, KeyHealth::Well);
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_model_does_not_affect_the_others() {
    let pool = pool(Strategy::Order, &[0, 0], 0);
    for scope in [FailureScope::RateLimited(Some(Duration::from_secs(60))), FailureScope::Quota] {
        pool.seat("dear", None).await.unwrap().failed(&failure(scope));
    }
    assert!(!pool.is_usable("dear") && pool.is_usable("cheap"));
    assert_eq!(key(&pool.seat("cheap", None).await.unwrap()), "sk-0");
    assert!(pool.seat("dear", None).await.is_err());
    // A refused key is refused for all models.
    pool.seat("cheap", None).await.unwrap().failed(&failure(FailureScope::Credential));
    assert_eq!(key(&pool.seat("cheap", None).await.unwrap()), "sk-1");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_back_serves_the_queue() {
    let pool = pool(Strategy::Order, &[1, 1], 10);
    let cooling = pool.seat("m", None).await.unwrap();
    let _long = pool.seat("m", None).await.unwrap();
    cooling.failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(2)))));
    drop(cooling);
    let before = Instant::now();
    assert_eq!(key(&pool.seat("m", None).await.unwrap()), "sk-0");
    assert_eq!(before.elapsed(), Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn an_earlier_response_does_not_end_a_pause() {
    let pool = pool(Strategy::Order, &[0, 0], 0);
    let early = pool.seat("m", None).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    pool.seat("m", None)
        .await
        .unwrap()
        .failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(60)))));
    early.succeeded();
    assert_eq!(pool.keys()[0].health, KeyHealth::Cooling(Duration::from_secs(60)));
    early.failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(600)))));
    assert_eq!(
        pool.keys()[0].health,
        KeyHealth::Cooling(Duration::from_secs(60)),
        "and does not extend it"
    );
    tokio::time::advance(Duration::from_secs(60)).await;
    pool.seat("m", None).await.unwrap().succeeded();
    assert_eq!(pool.keys()[0].health, KeyHealth::Well);
}

#[tokio::test(start_paused = true)]
async fn made_up_model_names_are_bounded() {
    let pool = pool(Strategy::Order, &[0], 0);
    for number in 0..1000 {
        pool.seat(&format!("made up {number}"), None)
            .await
            .unwrap()
            .failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(60)))));
    }
    assert_eq!(pool.state().slots[0].models.len(), MOST_MODELS);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_a_rate_limited_model_does_not_block_others() {
    let pool = pool(Strategy::Order, &[1, 1], 10);
    let first = pool.seat("dear", None).await.unwrap();
    let _second = pool.seat("cheap", None).await.unwrap();
    first.failed(&failure(FailureScope::RateLimited(Some(Duration::from_secs(60)))));
    let mut dear = Box::pin(pool.seat("dear", None));
    assert!((&mut dear).now_or_never().is_none(), "the other key can serve it once it is free");
    let mut cheap = Box::pin(pool.seat("cheap", None));
    assert!((&mut cheap).now_or_never().is_none());
    drop(first);
    assert!((&mut cheap).now_or_never().is_some_and(|seat| seat.is_ok()));
    assert!((&mut dear).now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn callers_are_served_in_turn_and_none_fills_the_whole_queue() {
    let pool = pool(Strategy::LeastBusy, &[2], 4);
    let (ada, bob) = (Owner::new("key_ada"), Owner::new("key_bob"));
    let mut seats =
        vec![pool.seat("m", Some(&ada)).await.unwrap(), pool.seat("m", Some(&ada)).await.unwrap()];
    let mut many: Vec<_> = (0..4).map(|_| Box::pin(pool.seat("m", Some(&ada)))).collect();
    for one in &mut many {
        assert!(one.now_or_never().is_none());
    }
    assert!(pool.seat("m", Some(&ada)).await.is_err(), "Ada's part of the queue is full");
    let mut other = Box::pin(pool.seat("m", Some(&bob)));
    assert!((&mut other).now_or_never().is_none(), "and there is room for Bob");
    assert!(
        (&mut many[3]).now_or_never().is_some_and(|turn| turn.is_err()),
        "Ada's newest request is evicted"
    );
    seats.pop();
    let his = (&mut other).now_or_never().unwrap();
    assert!(his.is_ok(), "Bob has nothing running yet");
    assert!((&mut many[0]).now_or_never().is_none());
    drop((his, seats));
    assert!((&mut many[0]).now_or_never().is_some());
}

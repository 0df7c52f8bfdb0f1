//! Which stream a question takes, for every order in which the requests of a page can arrive.

use protocol::id::Owner;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn asker(uid: &str) -> CallerUid {
    CallerUid { owner: Owner::local(), uid: uid.into() }
}

fn answer(number: u8) -> ResponseId {
    ResponseId::new(format!("resp_{number}"))
}

/// Asks question `number` on whatever stream it gets.
async fn ask(channels: &Channels<u8>, uid: &str, number: u8) -> Result<(), Fault> {
    channels.pair(&asker(uid), PATIENCE).await?.give(&answer(number), number)
}

fn is_empty(channels: &Channels<u8>) -> bool {
    let held = channels.held();
    held.channels.is_empty() && held.failed.is_empty()
}

#[tokio::test(start_paused = true)]
async fn b6_a_question_may_come_before_its_stream() -> Outcome {
    let channels = Channels::default();
    let late = async {
        tokio::time::sleep(PATIENCE / 2).await;
        channels.open(&asker("ada"))
    };
    let (asked, opened) = tokio::join!(ask(&channels, "ada", 7), late);
    asked?;
    assert_eq!(opened?.given.await, Ok(7));
    assert!(is_empty(&channels));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn c3_the_wait_for_a_stream_has_an_end() {
    let channels = Channels::<u8>::default();
    let start = Instant::now();
    let refused = ask(&channels, "ada", 7).await.map_err(|fault| (fault.status, fault.code));
    assert_eq!(refused, Err((409, "no_stream".to_owned())));
    assert_eq!(start.elapsed(), PATIENCE);
    assert!(is_empty(&channels), "a question that was given up leaves nothing");
}

#[tokio::test]
async fn c12_questions_take_idle_streams_in_the_order_of_arrival() -> Outcome {
    let channels = Channels::default();
    let [first, second] = [channels.open(&asker("ada"))?, channels.open(&asker("ada"))?];
    let other = channels.open(&asker("bob"))?;
    ask(&channels, "ada", 1).await?;
    let third = channels.open(&asker("ada"))?;
    ask(&channels, "ada", 2).await?;
    ask(&channels, "bob", 3).await?;
    ask(&channels, "ada", 4).await?;
    assert_eq!(
        (first.given.await, second.given.await, other.given.await, third.given.await),
        (Ok(1), Ok(2), Ok(3), Ok(4))
    );
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn c12_questions_that_wait_are_served_in_the_order_of_arrival() -> Outcome {
    let channels = Channels::default();
    let opening = async { [channels.open(&asker("ada")), channels.open(&asker("ada"))] };
    let (first, second, streams) =
        tokio::join!(biased; ask(&channels, "ada", 1), ask(&channels, "ada", 2), opening);
    first.and(second)?;
    let [first, second] = streams;
    assert_eq!((first?.given.await, second?.given.await), (Ok(1), Ok(2)));
    Ok(())
}

#[tokio::test]
async fn b5_the_end_of_one_stream_leaves_the_other_in_its_place() -> Outcome {
    let channels = Channels::default();
    let first = channels.open(&asker("ada"))?;
    let second = channels.open(&asker("ada"))?;
    ask(&channels, "ada", 1).await?;
    drop(first);
    ask(&channels, "ada", 2).await?;
    assert_eq!(second.given.await, Ok(2));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_is_not_reused() -> Outcome {
    let channels = Channels::default();
    drop(channels.open(&asker("ada"))?);
    let open = channels.open(&asker("ada"))?;
    ask(&channels, "ada", 1).await?;
    assert_eq!(open.given.await, Ok(1));
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn c7_a_failed_question_ends_its_stream_before_or_after_it_opens() -> Outcome {
    let channels = Channels::<u8>::default();
    let before = channels.open(&asker("ada"))?;
    channels.fail(&asker("ada"), PATIENCE);
    assert!(before.given.await.is_err(), "the stream ends");
    channels.fail(&asker("ada"), PATIENCE);
    let [after, next] = [channels.open(&asker("ada"))?, channels.open(&asker("ada"))?];
    assert!(after.given.await.is_err(), "the stream ends as it opens");
    channels.fail(&asker("bob"), PATIENCE);
    tokio::time::advance(PATIENCE).await;
    let late = channels.open(&asker("bob"))?;
    ask(&channels, "ada", 1).await?;
    ask(&channels, "bob", 2).await?;
    assert_eq!(
        (next.given.await, late.given.await),
        (Ok(1), Ok(2)),
        "it ends one stream, and not for ever"
    );
    Ok(())
}

#[tokio::test]
async fn a_question_that_is_dropped_ends_the_stream_it_has_taken() -> Outcome {
    let channels = Channels::<u8>::default();
    let stream = channels.open(&asker("ada"))?;
    drop(channels.pair(&asker("ada"), PATIENCE).await?);
    assert!(stream.given.await.is_err());
    Ok(())
}

#[tokio::test]
async fn b12_a_close_is_for_the_latest_stream() -> Outcome {
    let channels = Channels::default();
    assert_eq!(channels.close(&asker("ada")), None);
    let first = channels.open(&asker("ada"))?;
    let second = channels.open(&asker("ada"))?;
    assert_eq!(channels.close(&asker("ada")), None);
    assert!(second.given.await.is_err(), "an idle one ends");
    ask(&channels, "ada", 1).await?;
    assert_eq!(
        channels.close(&asker("ada")),
        Some(answer(1)),
        "one that delivers a response names it"
    );
    assert_eq!(first.given.await, Ok(1));
    Ok(())
}

#[tokio::test]
async fn the_streams_of_one_uid_are_limited() -> Outcome {
    let channels = Channels::<u8>::default();
    let streams: Vec<_> =
        (0..MAX_PER_UID).map(|_| channels.open(&asker("ada"))).collect::<Result<_, _>>()?;
    assert_eq!(channels.open(&asker("ada")).map_err(|fault| fault.status).err(), Some(429));
    assert!(channels.open(&asker("bob")).is_ok());
    drop(streams);
    assert!(channels.open(&asker("ada")).is_ok());
    Ok(())
}

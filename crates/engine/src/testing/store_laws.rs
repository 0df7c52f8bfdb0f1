//! The laws of a store. Each takes a new one. A broken law panics with its description.
#![expect(clippy::panic, reason = "a broken law has to end the test that runs it")]

use std::time::{Duration, UNIX_EPOCH};

use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::{Item, Message, Part, Role};

use crate::store::{
    Claimed, ConversationHead, Expired, IdempotencyClaim, Most, RecordEnd, RecordLookup, Removal,
    ResponseRecord, Store, StoreError,
};
use crate::times::EventTimes;

/// Runs every law on stores that `fresh` makes.
pub async fn all<S: Store>(fresh: impl AsyncFn() -> S) {
    a_record_is_found_by_its_id(&fresh().await).await;
    a_path_goes_from_the_root_to_the_head(&fresh().await).await;
    two_turns_may_continue_one(&fresh().await).await;
    an_item_belongs_to_its_owner(&fresh().await).await;
    a_key_is_claimed_once(&fresh().await).await;
    two_owners_may_use_one_key(&fresh().await).await;
    expiry_keeps_what_others_build_on(&fresh().await).await;
    deletion_takes_the_text_everywhere(&fresh().await).await;
    a_turn_without_items_of_its_own_takes_no_others(&fresh().await).await;
    what_a_running_turn_continues_stays_for_it(&fresh().await).await;
    a_released_key_is_new_again(&fresh().await).await;
    everything_removed_weighs_nothing(&fresh().await).await;
    the_oldest_end_comes_first(&fresh().await).await;
    stored_bytes_are_counted_by_owner(&fresh().await).await;
    a_conversation_is_loaded_up_to_a_limit(&fresh().await).await;
    what_has_not_ended_is_unfinished(&fresh().await).await;
    a_head_stands_where_it_was_put(&fresh().await).await;
    what_cannot_be_fetched_is_a_record_too(&fresh().await).await;
    the_times_of_events_go_with_their_record(&fresh().await).await;
}

async fn the_times_of_events_go_with_their_record(store: &dyn Store) {
    let mut times = EventTimes::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
    times.append(2, Duration::from_millis(1));
    times.append(1, Duration::from_millis(400));
    for (name, removal) in
        [("one", Removal::Deleted), ("two", Removal::Expired), ("three", Removal::Forgotten)]
    {
        require(store.insert(record(name, &[]), Vec::new()).await == Ok(()), "a record is new");
        require(store.times(&id(name)).await == Ok(None), "without an end there are no times");
        let end = RecordEnd { times: Some(times.clone()), ..RecordEnd::new(Vec::new(), 1) };
        require(store.finish(&id(name), end).await == Ok(()), "it ends");
        let found = store.times(&id(name)).await;
        require(found == Ok(Some(times.clone())), "the times are found");
        remove(store, name, removal).await;
        require(store.times(&id(name)).await == Ok(None), "the times are gone with the record");
    }
    turn(store, "four", None, &["a"], &["b"]).await;
    require(store.times(&id("four")).await == Ok(None), "times may be unknown");
}

async fn a_record_is_found_by_its_id(store: &dyn Store) {
    turn(store, "one", None, &["a"], &["b"]).await;
    require(
        matches!(find(store, "one").await, RecordLookup::Record(record) if record.owner == alice()),
        "a record is found by its id",
    );
    require(find(store, "other").await == RecordLookup::Missing, "an unknown id is missing");
    let again = store.insert(record("one", &[]), Vec::new()).await;
    require(again == Err(StoreError::Taken), "an id is taken once");
}

async fn a_path_goes_from_the_root_to_the_head(store: &dyn Store) {
    let head = turn(store, "one", None, &["a", "b"], &["c"]).await;
    let head = turn(store, "two", Some(head), &["d"], &["e", "f"]).await;
    require(
        path(store, &head).await == ["a", "b", "c", "d", "e", "f"],
        "a path goes from the root to the head",
    );
}

async fn two_turns_may_continue_one(store: &dyn Store) {
    let head = turn(store, "one", None, &["a"], &["b"]).await;
    let left = turn(store, "left", Some(head.clone()), &["c"], &["d"]).await;
    let right = turn(store, "right", Some(head), &["e"], &["f"]).await;
    require(path(store, &left).await == ["a", "b", "c", "d"], "a branch has its own path");
    require(path(store, &right).await == ["a", "b", "e", "f"], "branches share their root");
}

async fn an_item_belongs_to_its_owner(store: &dyn Store) {
    turn(store, "one", None, &["a"], &["b"]).await;
    let of = |owner: Owner| async move {
        store.item(&owner, &ItemId::new("msg_a")).await.ok().flatten()
    };
    require(of(alice()).await.is_some(), "an owner has its items");
    require(of(Owner::new("bob")).await.is_none(), "other callers do not have them");
}

async fn a_key_is_claimed_once(store: &dyn Store) {
    let claim = |request: u8| IdempotencyClaim {
        owner: alice(),
        key: "key".into(),
        request: [request; 32],
    };
    require(store.claimed(&claim(1)).await == Ok(Claimed::New), "an unclaimed key is new");
    require(store.claim(claim(1), &id("one")).await == Ok(Claimed::New), "a new key is new");
    require(
        store.claimed(&claim(1)).await == Ok(Claimed::Same(id("one"))),
        "looking does not claim",
    );
    require(
        store.claim(claim(1), &id("two")).await == Ok(Claimed::Same(id("one"))),
        "the same request finds the first",
    );
    require(
        store.claim(claim(2), &id("three")).await == Ok(Claimed::Other),
        "another request conflicts",
    );
    remove(store, "one", Removal::Forgotten).await;
    require(
        store.claim(claim(2), &id("four")).await == Ok(Claimed::New),
        "a key goes with its answer",
    );
}

async fn two_owners_may_use_one_key(store: &dyn Store) {
    let claim = |owner: Owner| IdempotencyClaim { owner, key: "key".into(), request: [0; 32] };
    require(
        store.claim(claim(alice()), &id("one")).await == Ok(Claimed::New),
        "a key of one owner",
    );
    require(
        store.claim(claim(Owner::new("bob")), &id("two")).await == Ok(Claimed::New),
        "is not a key of another",
    );
}

async fn expiry_keeps_what_others_build_on(store: &dyn Store) {
    let head = turn(store, "one", None, &["a"], &["b"]).await;
    let head = turn(store, "two", Some(head), &["c"], &["d"]).await;
    remove(store, "one", Removal::Expired).await;
    let expired = |items_left| RecordLookup::Expired(Expired { owner: alice(), items_left });
    require(
        find(store, "one").await == expired(2),
        "an expired id is remembered with its owner and what is left of it",
    );
    require(path(store, &head).await == ["a", "b", "c", "d"], "what later turns build on stays");
    remove(store, "two", Removal::Deleted).await;
    require(find(store, "one").await == expired(0), "until they go");
}

async fn deletion_takes_the_text_everywhere(store: &dyn Store) {
    let head = turn(store, "one", None, &["a"], &["b"]).await;
    let head = turn(store, "two", Some(head), &["c"], &["d"]).await;
    remove(store, "one", Removal::Deleted).await;
    require(find(store, "one").await == RecordLookup::Missing, "a deleted id is missing");
    require(
        path(store, &head).await == ["c", "d"],
        "deleted text is gone from longer conversations",
    );
}

async fn a_turn_without_items_of_its_own_takes_no_others(store: &dyn Store) {
    let head = turn(store, "one", None, &["a"], &["b"]).await;
    let empty = ResponseRecord {
        parent: Some(head.clone()),
        head: Some(head.clone()),
        ..record("two", &[])
    };
    require(store.insert(empty, Vec::new()).await == Ok(()), "a turn may have no input");
    require(
        store.finish(&id("two"), RecordEnd::new(Vec::new(), 2)).await == Ok(()),
        "and no output",
    );
    remove(store, "two", Removal::Deleted).await;
    require(
        path(store, &head).await == ["a", "b"],
        "its deletion takes nothing of the turn before",
    );

    let several =
        ResponseRecord { parent: Some(head.clone()), head: Some(head), ..record("three", &[]) };
    require(store.insert(several, Vec::new()).await == Ok(()), "a turn may have no input");
    let output = vec![message("c"), message("d")];
    require(
        store.finish(&id("three"), RecordEnd::new(output, 3)).await == Ok(()),
        "and several items of output",
    );
    remove(store, "three", Removal::Deleted).await;
    remove(store, "one", Removal::Deleted).await;
    require(store.bytes() == 0, "all of them go with it");
}

async fn what_a_running_turn_continues_stays_for_it(store: &dyn Store) {
    let root = turn(store, "one", None, &["a"], &["b"]).await;
    let middle = turn(store, "two", Some(root), &["c"], &["d"]).await;
    let running =
        ResponseRecord { parent: Some(middle.clone()), head: Some(middle), ..record("three", &[]) };
    require(store.insert(running, Vec::new()).await == Ok(()), "a turn may have no input");
    remove(store, "two", Removal::Deleted).await;
    require(
        store.finish(&id("three"), RecordEnd::new(vec![message("e")], 3)).await == Ok(()),
        "it ends",
    );
    require(
        path(store, &ItemId::new("msg_e")).await == ["a", "b", "e"],
        "only what was deleted is missing from it",
    );
    remove(store, "three", Removal::Deleted).await;
    remove(store, "one", Removal::Deleted).await;
    require(store.bytes() == 0, "and nothing is left");
}

async fn a_released_key_is_new_again(store: &dyn Store) {
    let claim = || IdempotencyClaim { owner: alice(), key: "key".into(), request: [1; 32] };
    require(store.claim(claim(), &id("one")).await == Ok(Claimed::New), "a new key is new");
    require(store.release(&id("one")).await == Ok(()), "a key is released");
    require(
        store.claim(claim(), &id("two")).await == Ok(Claimed::New),
        "a released key is new again",
    );
}

async fn everything_removed_weighs_nothing(store: &dyn Store) {
    let head = turn(store, "one", None, &["a"], &["b"]).await;
    turn(store, "two", Some(head), &["c"], &["d"]).await;
    require(store.bytes() > 0, "items weigh something");
    remove(store, "one", Removal::Expired).await;
    remove(store, "two", Removal::Deleted).await;
    require(store.bytes() == 0, "nothing is left when the last turn goes");
}

async fn the_oldest_end_comes_first(store: &dyn Store) {
    for (name, ended_at) in [("late", 30), ("early", 10), ("middle", 20)] {
        insert(
            store,
            name,
            None,
            &["x"]
                .map(|text| format!("{name}{text}"))
                .iter()
                .map(String::as_str)
                .collect::<Vec<_>>(),
        )
        .await;
        require(
            store.finish(&id(name), RecordEnd::new(Vec::new(), ended_at)).await == Ok(()),
            "a record ends",
        );
    }
    insert(store, "running", None, &["y"]).await;
    let oldest = store.oldest_ended(None, 2).await.unwrap_or_default();
    let names: Vec<_> = oldest.iter().map(|record| record.id.clone()).collect();
    require(
        names == [id("early"), id("middle")],
        "the oldest end comes first, and what runs not at all",
    );
}

async fn stored_bytes_are_counted_by_owner(store: &dyn Store) {
    let bob = Owner::new("bob");
    turn(store, "one", None, &["a"], &["b"]).await;
    let item = message("a longer text of another caller");
    let record =
        ResponseRecord { owner: bob.clone(), ..record("two", std::slice::from_ref(&item)) };
    require(
        store.insert(record, vec![item]).await == Ok(()),
        "a record of another caller is taken",
    );
    require(
        store
            .finish(
                &id("two"),
                RecordEnd::new(vec![message("and its answer, which is long as well")], 2),
            )
            .await
            == Ok(()),
        "it ends",
    );
    let stored = store.stored_by_caller().await.unwrap_or_default();
    let owners: Vec<_> = stored.iter().map(|(owner, _)| owner.clone()).collect();
    require(owners == [bob.clone(), alice()], "the caller that stores most comes first");
    require(
        stored.iter().map(|(_, bytes)| bytes).sum::<u64>() == store.bytes(),
        "and all of it is counted",
    );
    let oldest = store.oldest_ended(Some(&bob), 9).await.unwrap_or_default();
    require(
        oldest.len() == 1 && oldest[0].id == id("two"),
        "the oldest of one caller are that caller's",
    );
    remove(store, "two", Removal::Expired).await;
    let stored = store.stored_by_caller().await.unwrap_or_default();
    require(
        stored.len() == 1 && stored[0].0 == alice(),
        "a caller that stores nothing is left out",
    );
    remove(store, "one", Removal::Deleted).await;
    require(
        store.stored_by_caller().await == Ok(Vec::new()),
        "and the list is empty when nothing is left",
    );
}

async fn a_conversation_is_loaded_up_to_a_limit(store: &dyn Store) {
    let head = turn(store, "one", None, &["a", "b"], &["c"]).await;
    require(
        store.path(&head, Most { items: 3, ..Most::ALL }).await.is_ok_and(|path| path.len() == 3),
        "as much as may be is loaded",
    );
    require(
        store.path(&head, Most { items: 2, ..Most::ALL }).await == Err(StoreError::TooLarge),
        "more items are not",
    );
    require(
        store.path(&head, Most { bytes: 10, ..Most::ALL }).await == Err(StoreError::TooLarge),
        "nor are more bytes",
    );
}

async fn what_has_not_ended_is_unfinished(store: &dyn Store) {
    turn(store, "one", None, &["a"], &["b"]).await;
    insert(store, "running", None, &["c"]).await;
    let unfinished = store.unfinished().await.unwrap_or_default();
    let names: Vec<_> = unfinished.iter().map(|record| record.id.clone()).collect();
    require(names == [id("running")], "what has not ended is unfinished");
}

async fn a_head_stands_where_it_was_put(store: &dyn Store) {
    let head = |used_at: u64| ConversationHead { response: id("one"), used_at };
    require(store.head(&alice(), "uid").await == Ok(None), "an unset head is missing");
    require(store.set_head(&alice(), "uid", Some(head(1))).await == Ok(()), "a head is put");
    require(store.set_head(&alice(), "uid", Some(head(2))).await == Ok(()), "and moved");
    require(store.head(&alice(), "uid").await == Ok(Some(head(2))), "it stands where it was put");
    require(store.head(&Owner::new("bob"), "uid").await == Ok(None), "for its owner only");
    require(
        store.set_head(&alice(), "older", Some(head(1))).await == Ok(()),
        "there may be several",
    );
    require(store.expire_heads(2).await == Ok(()), "old ones are forgotten");
    require(
        store.head(&alice(), "older").await == Ok(None)
            && store.head(&alice(), "uid").await == Ok(Some(head(2))),
        "and only those",
    );
    require(store.set_head(&alice(), "uid", None).await == Ok(()), "a head is taken away");
    require(store.head(&alice(), "uid").await == Ok(None), "and is gone");
}

async fn what_cannot_be_fetched_is_a_record_too(store: &dyn Store) {
    let unreadable = ResponseRecord { readable: false, ..record("one", &[]) };
    require(
        store.insert(unreadable.clone(), Vec::new()).await == Ok(()),
        "a record that cannot be fetched is taken",
    );
    require(find(store, "one").await == RecordLookup::Record(unreadable), "and found");
    require(
        store.insert(record("one", &[]), Vec::new()).await == Err(StoreError::Taken),
        "its id is taken",
    );
    require(store.finish(&id("one"), RecordEnd::new(Vec::new(), 5)).await == Ok(()), "it ends");
    require(
        matches!(find(store, "one").await, RecordLookup::Record(record) if record.ended_at == Some(5)),
        "and is known to have ended",
    );
    let oldest = store.oldest_ended(None, 9).await.unwrap_or_default();
    require(oldest.len() == 1, "retention finds it");
    remove(store, "one", Removal::Forgotten).await;
    require(find(store, "one").await == RecordLookup::Missing, "then it is gone");
}

/// Stores a whole turn and gives its head.
async fn turn(
    store: &dyn Store,
    name: &str,
    parent: Option<ItemId>,
    input: &[&str],
    output: &[&str],
) -> ItemId {
    insert(store, name, parent, input).await;
    let output: Vec<Item> = output.iter().map(|text| message(text)).collect();
    require(store.finish(&id(name), RecordEnd::new(output, 1)).await == Ok(()), "a record ends");
    match find(store, name).await {
        RecordLookup::Record(ResponseRecord { head: Some(head), .. }) => head,
        RecordLookup::Record(_) | RecordLookup::Expired(_) | RecordLookup::Missing => {
            panic!("broken law: a finished turn has a head")
        }
    }
}

async fn insert(store: &dyn Store, name: &str, parent: Option<ItemId>, input: &[&str]) {
    let items: Vec<Item> = input.iter().map(|text| message(text)).collect();
    require(
        store.insert(ResponseRecord { parent, ..record(name, &items) }, items).await == Ok(()),
        "a record is taken",
    );
}

async fn find(store: &dyn Store, name: &str) -> RecordLookup {
    store.find(&id(name)).await.unwrap_or(RecordLookup::Missing)
}

async fn remove(store: &dyn Store, name: &str, removal: Removal) {
    require(store.remove(&id(name), removal).await == Ok(()), "a record is removed");
}

async fn path(store: &dyn Store, head: &ItemId) -> Vec<String> {
    let items = store.path(head, Most::ALL).await.unwrap_or_default();
    items.iter().map(|item| item.id().as_str().trim_start_matches("msg_").to_owned()).collect()
}

fn record(name: &str, input: &[Item]) -> ResponseRecord {
    ResponseRecord {
        id: id(name),
        owner: alice(),
        parent: None,
        readable: true,
        input: input.iter().map(|item| item.id().clone()).collect(),
        output: Vec::new(),
        head: input.last().map(|item| item.id().clone()),
        ended_at: None,
    }
}

fn message(text: &str) -> Item {
    let content = vec![Part::input_text(text)];
    Item::Message(Message {
        id: ItemId::new(format!("msg_{text}")),
        ..Message::new(Role::User, content)
    })
}

fn alice() -> Owner {
    Owner::new("alice")
}

fn id(name: &str) -> ResponseId {
    ResponseId::new(format!("resp_{name}"))
}

fn require(holds: bool, law: &str) {
    assert!(holds, "broken law: {law}");
}

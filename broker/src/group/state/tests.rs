use proptest::prelude::*;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

const SESSION: Duration = Duration::from_secs(10);

fn join_as(id: &str, protocols: &[&str]) -> Join {
    Join {
        member_id: id.to_string(),
        instance_id: None,
        client_id: "client".to_string(),
        client_host: "/127.0.0.1".to_string(),
        session_timeout: SESSION,
        rebalance_timeout: 2 * SESSION,
        protocol_type: "consumer".to_string(),
        protocols: protocols.iter().map(|name| (name.to_string(), Bytes::from(name.to_string()))).collect(),
        takes_id_first: false,
    }
}

fn join(group: &mut Group, id: &str, fresh: &str, now: Instant) -> oneshot::Receiver<Joined> {
    let (answer, answered) = oneshot::channel();
    group.join(join_as(id, &["range"]), fresh.to_string(), answer, now);
    answered
}

fn sync(group: &mut Group, id: &str, assignments: &[(&str, &str)], now: Instant) -> oneshot::Receiver<Synced> {
    let (answer, answered) = oneshot::channel();
    let assignments = assignments.iter().map(|(id, part)| (id.to_string(), Bytes::from(part.to_string()))).collect();
    let generation = group.generation;
    let (protocol_type, protocol) = (None, None);
    let request =
        Sync { member_id: id.to_string(), instance_id: None, generation, protocol_type, protocol, assignments };
    group.sync(request, answer, now);
    answered
}

#[test]
fn two_members_agree_on_a_generation_and_get_their_parts() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO, now);
    let first = join(&mut group, "", "a", now).try_recv().expect("alone it need not wait");
    assert_eq!((first.generation, first.leader.as_str(), first.members.len()), (1, "a", 1));
    assert_eq!(sync(&mut group, "a", &[("a", "all")], now).try_recv().expect("leader").assignment, "all");

    let mut second = join(&mut group, "", "b", now);
    assert!(second.try_recv().is_err(), "waits for the first to come again");
    assert_eq!(group.heartbeat("a", None, 1, now), Err(ResponseError::RebalanceInProgress));
    let leader = join(&mut group, "a", "", now).try_recv().expect("complete");
    assert_eq!((leader.generation, leader.members.len()), (2, 2));
    assert_eq!(second.try_recv().expect("complete").members.len(), 0);

    let mut follower = sync(&mut group, "b", &[], now);
    assert!(follower.try_recv().is_err(), "waits for the leader");
    assert_eq!(group.check_commit("b", None, 2, now), Err(ResponseError::RebalanceInProgress));
    sync(&mut group, "a", &[("a", "left"), ("b", "right")], now).try_recv().expect("leader");
    assert_eq!(follower.try_recv().expect("assigned").assignment, "right");
    assert_eq!((group.phase_name(), group.heartbeat("b", None, 2, now)), ("Stable", Ok(())));
    assert_eq!(group.heartbeat("b", None, 1, now), Err(ResponseError::IllegalGeneration));
    assert_eq!(group.check_commit("b", None, 2, now), Ok(()));
    assert_eq!(group.check_commit("", None, -1, now), Err(ResponseError::UnknownMemberId));
}

#[test]
fn members_that_start_together_share_their_first_generation() {
    let start = Instant::now();
    let mut group = Group::new(Duration::from_millis(100), start);
    let mut first = join(&mut group, "", "a", start);
    let mut second = join(&mut group, "", "b", start + Duration::from_millis(50));
    group.tick(start + Duration::from_millis(99));
    assert!(first.try_recv().is_err());
    group.tick(start + Duration::from_millis(100));
    assert_eq!((first.try_recv().expect("a").members.len(), second.try_recv().expect("b").generation), (2, 1));
}

#[test]
fn a_silent_member_is_replaced_by_the_others() {
    let start = Instant::now();
    let mut group = Group::new(Duration::ZERO, start);
    join(&mut group, "", "a", start).try_recv().expect("joined");
    let _second = join(&mut group, "", "b", start);
    join(&mut group, "a", "", start).try_recv().expect("joined");
    sync(&mut group, "a", &[], start).try_recv().expect("stable");
    let later = start + SESSION - Duration::from_secs(1);
    group.heartbeat("a", None, 2, later).expect("alive");
    group.tick(start + SESSION);
    assert_eq!(group.heartbeat("b", None, 2, later), Err(ResponseError::UnknownMemberId));
    assert_eq!(group.heartbeat("a", None, 2, later), Err(ResponseError::RebalanceInProgress));
    assert_eq!(join(&mut group, "a", "", later).try_recv().expect("alone").generation, 3);
}

#[test]
fn a_member_that_does_not_come_again_is_waited_for_only_so_long() {
    let start = Instant::now();
    let mut group = Group::new(Duration::ZERO, start);
    join(&mut group, "", "a", start).try_recv().expect("joined");
    sync(&mut group, "a", &[], start).try_recv().expect("stable");
    let mut second = join(&mut group, "", "b", start);
    for seconds in 1..20 {
        let now = start + Duration::from_secs(seconds);
        let _ = group.heartbeat("a", None, 1, now);
        group.tick(now);
        assert!(second.try_recv().is_err(), "a is alive, though it does not join");
    }
    group.tick(start + 2 * SESSION);
    assert_eq!(second.try_recv().expect("the rebalance is over").leader, "b");
}

#[test]
fn new_clients_come_twice_and_strangers_are_refused() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO, now);
    let (answer, mut answered) = oneshot::channel();
    group.join(Join { takes_id_first: true, ..join_as("", &["range"]) }, "a".to_string(), answer, now);
    let invited = answered.try_recv().expect("at once");
    assert_eq!((invited.error, invited.member_id.as_str()), (Some(ResponseError::MemberIdRequired), "a"));
    assert_eq!(join(&mut group, "a", "", now).try_recv().expect("joined").error, None);
    let stranger = join(&mut group, "who", "", now).try_recv().expect("refused");
    assert_eq!(stranger.error, Some(ResponseError::UnknownMemberId));
    let (answer, mut answered) = oneshot::channel();
    group.join(join_as("", &["sticky"]), "c".to_string(), answer, now);
    assert_eq!(answered.try_recv().expect("refused").error, Some(ResponseError::InconsistentGroupProtocol));
}

#[test]
fn the_strategy_is_one_that_all_know() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO, now);
    let mut waiting = Vec::new();
    for (id, protocols) in [("a", ["range", "sticky"]), ("b", ["sticky", "range"]), ("c", ["other", "sticky"])] {
        group.invited.insert(id.to_string(), now + SESSION);
        let (answer, answered) = oneshot::channel();
        group.invited.insert("d".to_string(), now + SESSION);
        group.join(join_as(id, &protocols), String::new(), answer, now);
        waiting.push(answered);
    }
    group.invited.clear();
    group.tick(now);
    for mut answered in waiting {
        assert_eq!(answered.try_recv().expect("joined").protocol.as_deref(), Some("sticky"));
    }
}

#[test]
fn an_instance_that_comes_back_fences_its_old_self() {
    let now = Instant::now();
    let mut group = Group::new(Duration::ZERO, now);
    let mut come = |fresh: &str| {
        let (answer, mut answered) = oneshot::channel();
        let request = Join { instance_id: Some("i".to_string()), ..join_as("", &["range"]) };
        group.join(request, fresh.to_string(), answer, now);
        answered.try_recv().expect("joined")
    };
    come("old");
    assert_eq!(come("new").members.len(), 1);
    assert_eq!(group.heartbeat("old", Some("i"), 1, now), Err(ResponseError::FencedInstanceId));
    assert_eq!(group.leave("", Some("i"), now), Ok(()));
    assert_eq!((group.phase_name(), group.is_unused()), ("Empty", true));
}

proptest! {
    /// Whatever members do, a stable group has one leader among its members, every waiting request is answered once
    /// patience is over, and generations only grow.
    #[test]
    fn nobody_waits_for_ever(steps in proptest::collection::vec((0u8..5, 0u8..4, 0u64..4), 1..60)) {
        let mut now = Instant::now();
        let mut group = Group::new(Duration::ZERO, now);
        let (mut joining, mut syncing, mut generation) = (Vec::new(), Vec::new(), 0);
        for (action, who, seconds) in steps {
            now += Duration::from_secs(seconds);
            let id = format!("m{who}");
            let known = group.members.contains_key(&id);
            match action {
                0 | 1 => joining.push(join(&mut group, if known { &id } else { "" }, &id, now)),
                2 => syncing.push(sync(&mut group, &id, &[], now)),
                3 => drop(group.leave(&id, None, now)),
                _ => drop(group.heartbeat(&id, None, group.generation, now)),
            }
            group.tick(now);
            prop_assert!(group.generation >= generation);
            generation = group.generation;
            if group.phase == Phase::Stable {
                prop_assert!(group.members.contains_key(&group.leader));
            }
            prop_assert_eq!(group.members.is_empty(), group.phase == Phase::Empty);
        }
        for _ in 0..5 {
            now += 2 * SESSION;
            group.tick(now);
        }
        // A member that asks again gives up its first question; the channel of that one is closed.
        prop_assert!(joining.iter_mut().all(|answered| answered.try_recv() != Err(TryRecvError::Empty)));
        prop_assert!(syncing.iter_mut().all(|answered| answered.try_recv() != Err(TryRecvError::Empty)));
    }
}

//! Q6: the order in which agents are offered.

use crate::house::{House, answers, pass, play};
use crate::setting::queue;

/// Q6 `as-listed`: in list order; agents who cannot take the caller now are skipped at once.
#[test]
fn q6_as_listed() {
    play(async {
        let house = House::open(&[queue("99900", &["1003", "1001", "1002"])]);
        house.settled().await;
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        house.phone("1001").wait_ringing().await;
        house.take("1003").await;
        first.wait_talking().await;
        house.phone("1003").hang_up();
        first.wait_ended().await;
        // Anna still rings for the second caller: the third gets the first free agent of the list.
        let third = house.caller("0793", "99900");
        assert_eq!(house.phone("1003").wait_ringing().await.number, "0793");
        second.hang_up();
        third.hang_up();
        let book = house.end().await;
        let offers: Vec<_> = book.offers().into_iter().map(|(agent, caller)| format!("{agent} {caller}")).collect();
        assert_eq!(offers, ["1003 0791", "1001 0792", "1003 0793"]);
        assert_eq!(book.when("0791 enters 99900"), book.when("1003 is offered 0791"));
        assert_eq!(book.when("0792 enters 99900"), book.when("1001 is offered 0792"));
    });
}

/// Q6 `simultaneous`: all free agents ring, an agent who becomes free joins, the first to answer takes the caller, and
/// no other phone shows a missed call.
#[test]
fn q6_simultaneous() {
    play(async {
        let all = queue("99900", &["1001", "1002", "1003", "1004"]).with("strategy: simultaneous");
        let house = House::open(&[all, queue("99901", &["1003"])]);
        house.log_out("1004", "99900");
        house.when_rung("1003", answers(100));
        let elsewhere = house.caller("0790", "99901");
        elsewhere.wait_talking().await;
        house.when_rung("1003", simswitch::Behaviour::Manual);
        let hans = house.caller("0791", "99900");
        house.phone("1001").wait_ringing().await;
        house.phone("1002").wait_ringing().await;
        assert!(!house.phone("1003").is_ringing() && !house.phone("1004").is_ringing());
        // One agent becomes free by the end of a conversation, one by logging in.
        elsewhere.hang_up();
        house.phone("1003").wait_ringing().await;
        house.log_in("1004", "99900");
        house.phone("1004").wait_ringing().await;
        assert_eq!(house.phone("1001").rings().len(), 1, "the phone never stops ringing meanwhile");
        house.take("1003").await;
        assert_eq!(hans.wait_talking().await, "1003");
        for other in ["1001", "1002", "1004"] {
            house.phone(other).wait_idle().await;
            assert_eq!(house.phone(other).view().missed, [], "{other} missed nothing");
        }
        pass(3_000).await;
        house.phone("1003").hang_up();
        assert_eq!(hans.wait_ended().await, "NORMAL_CLEARING");
        house.end().await;
    });
}

/// Q37 `simultaneous`: the longest idle ring, as many as the file says; who misses makes room, and a limit that the file
/// raises applies to the caller who waits.
#[test]
fn q37_simultaneous_rings_the_longest_idle_up_to_a_limit() {
    play(async {
        let names = ["1001", "1002", "1003", "1004"];
        let limited = |n: u32| {
            let all = queue("99900", &names).with("strategy: simultaneous").with("ring_seconds: 300");
            all.with(&format!("ring_at_most: {n}"))
        };
        let house = House::open(&[limited(2)]);
        house.settled().await;
        // 1001 has just talked, so the others are idle for longer.
        let before = house.caller("0790", "99900");
        house.take("1001").await;
        before.hang_up();
        house.phone("1001").wait_idle().await;
        house.phone("1002").wait_idle().await;
        pass(1_000).await;
        let rung = |house: &House| names.into_iter().filter(|n| house.phone(n).is_ringing()).collect::<Vec<_>>();
        let hans = house.caller("0791", "99900");
        pass(1_000).await;
        assert_eq!(rung(&house), ["1002", "1003"]);
        assert!(house.phone("1003").decline());
        pass(1_000).await;
        assert_eq!(rung(&house), ["1002", "1004"]);
        house.reconfigure(&[limited(3)]);
        pass(1_000).await;
        assert_eq!(rung(&house), ["1001", "1002", "1004"]);
        house.reconfigure(&[limited(1)]);
        pass(1_000).await;
        assert_eq!(rung(&house), ["1001", "1002", "1004"], "a lower limit calls nothing off");
        // Another caller gets the agents for whom there is no room here.
        pass(5_000).await;
        let eva = house.caller("0792", "99900");
        pass(1_000).await;
        assert_eq!(rung(&house), names);
        assert_eq!(house.phone("1003").wait_ringing().await.number, "0792");
        hans.hang_up();
        eva.hang_up();
        house.end().await;
    });
}

/// Q34 `round-robin`: the turn goes on with every offer, missed or answered, passes over who is not free, is not moved
/// by another queue, and outlives the daemon.
#[test]
fn q34_round_robin() {
    play(async {
        let turns = queue("99900", &["1001", "1002", "1003", "1004"]).with("strategy: round-robin");
        let house = House::durable("q34", &[turns, queue("99901", &["1004"])]);
        house.settled().await;
        for (n, agent) in ["1001", "1002"].into_iter().enumerate() {
            let caller = house.caller(&format!("079{n}"), "99900");
            house.take(agent).await;
            caller.hang_up();
            house.phone(agent).wait_idle().await;
            pass(1_000).await;
        }
        let elsewhere = house.caller("0793", "99901");
        house.take("1004").await;
        house.when_rung("1003", simswitch::Behaviour::Busy);
        let caller = house.caller("0794", "99900");
        assert_eq!(house.take("1001").await, "0794", "1003 is busy, 1004 in conversation");
        caller.hang_up();
        elsewhere.hang_up();
        for agent in ["1001", "1004"] {
            house.phone(agent).wait_idle().await;
        }
        pass(1_000).await;
        house.kill().await;
        house.start_again();
        house.settled().await;
        pass(1_000).await;
        let caller = house.caller("0795", "99900");
        assert_eq!(house.take("1002").await, "0795");
        caller.hang_up();
        house.end().await;
    });
}

/// Q35 `fewest-calls` and `least-talk-time`: the work of the shift is shared out, whoever begins a shift has no less than
/// the others, and the counts outlive the daemon.
#[test]
fn q35_the_work_of_the_shift_is_shared_out() {
    // With the agent who has had the least work when 1001 goes.
    for (strategy, least) in [("fewest-calls", "1003"), ("least-talk-time", "1002")] {
        play(async move {
            let shared = queue("99900", &["1001", "1002", "1003"]).with(&format!("strategy: {strategy}"));
            let house = House::durable(&format!("q35-{strategy}"), &[shared, queue("99901", &["1002"])]);
            house.settled().await;
            // 1001 talks for 9 s, 1002 twice for 1 s, 1003 once for 4 s. Conversations of every queue count.
            for (number, agent, ms) in
                [("99900", "1001", 9_000), ("99900", "1002", 1_000), ("99900", "1003", 4_000), ("99901", "1002", 1_000)]
            {
                let caller = house.caller("0791", number);
                house.take(agent).await;
                pass(ms).await;
                caller.hang_up();
                house.phone(agent).wait_idle().await;
                pass(500).await;
            }
            house.log_out("1001", "99900");
            house.settled().await;
            let caller = house.caller("0792", "99900");
            assert_eq!(house.take(least).await, "0792", "{strategy}");
            caller.hang_up();
            house.phone(least).wait_idle().await;
            pass(500).await;
            // A shift begins with the least work of those present: whoever comes back is not flooded.
            house.log_in("1001", "99900");
            house.settled().await;
            house.kill().await;
            house.start_again();
            house.settled().await;
            pass(1_000).await;
            let caller = house.caller("0793", "99900");
            assert_eq!(
                house.take("1001").await,
                "0793",
                "{strategy}: as little work as the least, and idle for longest"
            );
            pass(3_000).await;
            caller.hang_up();
            house.phone("1001").wait_idle().await;
            pass(500).await;
            let caller = house.caller("0794", "99900");
            let next = if strategy == "fewest-calls" { "1002" } else { least };
            assert_eq!(house.take(next).await, "0794", "{strategy}");
            caller.hang_up();
            house.end().await;
        });
    }
}

/// Q6, Q8 `simultaneous`: a queue of two hundred rings two hundred phones, and all but the answering one stop.
#[test]
fn q6_simultaneous_rings_a_great_many() {
    play(async {
        let many: Vec<String> = (0..200).map(|n| (2000 + n).to_string()).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        let house = House::open(&[queue("99900", &names).with("strategy: simultaneous")]);
        let hans = house.caller("0791", "99900");
        for name in &names {
            house.phone(name).wait_ringing().await;
        }
        house.take("2150").await;
        assert_eq!(hans.wait_talking().await, "2150");
        for name in names.iter().filter(|n| **n != "2150") {
            house.phone(name).wait_idle().await;
            assert_eq!(house.phone(name).view().missed, [], "{name} missed nothing");
        }
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(book.offers().len(), 200, "every agent is rung once");
    });
}

/// Q6 `simultaneous`: two callers wait, and the phones ring for the second when an agent has the first.
#[test]
fn q6_simultaneous_serves_one_after_the_other() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"]).with("strategy: simultaneous")]);
        let first = house.caller("0791", "99900");
        let second = house.caller("0792", "99900");
        house.take("1002").await;
        assert_eq!(first.wait_talking().await, "1002");
        assert_eq!(house.phone("1001").wait_for(|v| v.ringing.iter().any(|r| r.number == "0792")).await.missed, []);
        house.take("1001").await;
        assert_eq!(second.wait_talking().await, "1001");
        first.hang_up();
        second.hang_up();
        house.end().await;
    });
}

/// Q6 `longest-idle`: agents without any conversation come first, then by the end of the last one in any queue; ties by
/// list order; an offer without a conversation does not count.
#[test]
fn q6_longest_idle() {
    play(async {
        let idle = queue("99900", &["1001", "1002", "1003"]).with("strategy: longest-idle").with("ring_seconds: 10");
        let house = House::open(&[idle, queue("99901", &["1003"])]);
        let mut served = Vec::new();
        let serve = async |number: &str, queue: &str| {
            let caller = house.caller(number, queue);
            let phones = ["1001", "1002", "1003"].map(|p| house.phone(p));
            house.switch.wait_until(|_| phones.iter().any(simswitch::Phone::is_ringing)).await;
            let phone = phones.iter().find(|p| p.is_ringing()).unwrap();
            house.take(phone.number()).await;
            caller.wait_talking().await;
            pass(1_000).await;
            caller.hang_up();
            phone.wait_idle().await;
            pass(1_000).await;
            phone.number().to_owned()
        };
        assert_eq!(serve("0790", "99901").await, "1003");
        for number in ["0791", "0792", "0793", "0794"] {
            served.push(serve(number, "99900").await);
        }
        assert_eq!(served, ["1001", "1002", "1003", "1001"]);
        // 1002 is next, and declines: 1002 is still next for the following caller.
        house.when_rung("1002", simswitch::Behaviour::Decline { after: std::time::Duration::from_millis(500) });
        let fifth = house.caller("0795", "99900");
        assert_eq!(house.phone("1003").wait_ringing().await.number, "0795");
        fifth.hang_up();
        pass(10_000).await;
        house.when_rung("1002", simswitch::Behaviour::Manual);
        assert_eq!(serve("0796", "99900").await, "1002");
        house.end().await;
    });
}

/// Q6 `random`: a fresh order for every caller; every agent is first sometimes, and one caller's order is kept until
/// all agents were tried.
#[test]
fn q6_random() {
    play(async {
        let agents = ["1001", "1002", "1003"];
        let house = House::open(&[queue("99900", &agents).with("strategy: random")]);
        for agent in agents {
            house.when_rung(agent, simswitch::Behaviour::Busy);
        }
        for n in 0..40 {
            let caller = house.caller(&format!("079{n}"), "99900");
            pass(2_000).await;
            caller.hang_up();
            pass(6_000).await;
        }
        let offers = house.end().await.offers();
        let mut orders = std::collections::BTreeMap::new();
        for three in offers.chunks(3) {
            let order: Vec<&str> = three.iter().map(|(agent, _)| agent.as_str()).collect();
            assert!(
                three.iter().all(|(_, caller)| *caller == three[0].1),
                "each caller is offered once to every agent"
            );
            assert_eq!(std::collections::BTreeSet::from_iter(&order).len(), 3, "{order:?}");
            *orders.entry(order.join(" ")).or_insert(0) += 1;
        }
        assert_eq!(orders.values().sum::<i32>(), 40);
        assert_eq!(orders.len(), 6, "every order occurs: {orders:?}");
    });
}

//! Q7: every final answer of a phone is a miss with its own cause, and the pauses between offers to a phone that keeps
//! failing grow.

use std::time::Duration;

use simswitch::{Behaviour, Registration};

use crate::house::{House, answers, pass, play};
use crate::log::Log;
use crate::setting::{configuration, queue};

fn refuses(status: u16) -> Behaviour {
    Behaviour::Refuse { after: Duration::ZERO, status }
}

/// Q7: the final answer of a phone or gateway is the cause of the miss, and the next agent is rung at once.
#[test]
fn q7_every_final_answer_is_a_miss_with_its_own_cause() {
    play(async {
        let causes = [
            (480, "unavailable"),
            (408, "timeout"),
            (504, "timeout"),
            (487, "cancelled"),
            (302, "forwarded"),
            (486, "busy"),
            (600, "busy"),
            (603, "declined"),
            (404, "refused 404"),
            (403, "refused 403"),
            (488, "refused 488"),
            (500, "refused 500"),
            (503, "refused 503"),
        ];
        let agents: Vec<String> = (0..=causes.len()).map(|n| (2000 + n).to_string()).collect();
        let names: Vec<&str> = agents.iter().map(String::as_str).collect();
        let house = House::open(&[queue("99900", &names)]);
        for (agent, (status, _)) in names.iter().zip(causes) {
            let does = if status == 302 { Behaviour::Forward { to: "2000" } } else { refuses(status) };
            house.when_rung(agent, does);
        }
        house.when_rung(names[causes.len()], answers(300));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, names[causes.len()]);
        hans.hang_up();
        let book = house.end().await;
        let told: Vec<String> =
            names.iter().zip(causes).map(|(agent, (_, cause))| format!("{agent} misses 0791: {cause}")).collect();
        assert_eq!(book.story_of(&["misses"]), told);
        let waited = book.when(&format!("{} answers 0791", names[causes.len()])) - book.when("0791 enters 99900");
        assert!(waited < 2_500, "refusals cost the caller {waited} ms");
    });
}

/// Q7: a phone that rings and then refuses is recorded with its own answer; "no answer" is reserved for a phone that
/// rings for the whole ring time.
#[test]
fn q7_a_refusal_after_ringing_is_not_recorded_as_no_answer() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002", "1003", "1004"])]);
        house.when_rung("1001", Behaviour::Refuse { after: Duration::from_secs(3), status: 480 });
        house.when_rung("1002", Behaviour::Refuse { after: Duration::from_secs(3), status: 487 });
        house.phone("1003").set_leg_timeout(3);
        house.when_rung("1004", answers(300));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1004");
        hans.hang_up();
        let told = ["1001 misses 0791: unavailable", "1002 misses 0791: cancelled", "1003 misses 0791: time limit"];
        assert_eq!(house.end().await.story_of(&["misses", "called off"]), told);
    });
}

/// Q7: a phone that ends every offer by itself (487) is not offered repeatedly, and does not keep the next agent from
/// being rung.
#[test]
fn q7_a_phone_that_cancels_is_paused_like_any_other() {
    play(async {
        let house = House::open(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1001", refuses(487));
        house.when_rung("1002", Behaviour::Decline { after: Duration::from_secs(1) });
        let hans = house.caller("0791", "99900");
        pass(8_000).await;
        hans.hang_up();
        let offers: Vec<_> = house.end().await.offers().into_iter().map(|(agent, _)| agent).collect();
        assert_eq!(offers, ["1001", "1002", "1001", "1002"]);
    });
}

/// Q7: three agents behind a gateway that is down do not cause 36 offers a minute, and the log reports each of them
/// once.
#[test]
fn q7_a_gateway_that_is_down_is_tried_less_and_less_often() {
    play(async {
        let agents = ["1001", "1002", "1003"];
        let house = House::open(&[queue("99900", &agents)]);
        let (log, guard) = Log::begin();
        for agent in agents {
            house.phone(agent).set_registration(Registration::GatewayDown);
        }
        let hans = house.caller("0791", "99900");
        pass(60_000).await;
        let first = house.book().await.offers().len();
        assert!(first <= 3 * 5, "{first} offers in the first minute");
        pass(3_540_000).await;
        let all = house.book().await.offers().len();
        assert!(all <= 3 * 65, "{all} offers in an hour");
        drop(guard);
        let said = log.text();
        assert_eq!(said.matches("gateway down").count(), 3, "once for each agent: {said}");
        house.phone("1001").set_registration(Registration::Registered);
        house.phone("1001").wait_ringing().await;
        hans.hang_up();
        let book = house.end().await;
        assert_eq!(book.story_of(&["1001 misses"])[0], "1001 misses 0791: gateway down");
    });
}

/// Q7: a phone in "do not disturb" does not fill the records, and is rung again soon after it is switched back on.
#[test]
fn q7_a_phone_in_do_not_disturb_is_tried_rarely() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.when_rung("1001", refuses(480));
        let hans = house.caller("0791", "99900");
        pass(600_000).await;
        let offers = house.book().await.offers().len();
        assert!((25..=34).contains(&offers), "{offers} offers in ten minutes");
        let reason = house.why("1001", "99900").unwrap();
        assert!(reason.contains("temporarily unavailable"), "Q24: {reason}");
        let at = house.switch.now();
        house.when_rung("1001", Behaviour::Manual).wait_ringing().await;
        assert!(house.switch.now() - at <= Duration::from_secs(20));
        hans.hang_up();
        house.end().await;
    });
}

/// Q7: an agent who declines one caller is offered the next caller at once, because the phone works.
#[test]
fn q7_a_refusal_by_the_agent_counts_for_one_caller() {
    play(async {
        let house = House::open(&[queue("99900", &["1001"])]);
        house.when_rung("1001", Behaviour::Decline { after: Duration::from_millis(500) });
        let hans = house.caller("0791", "99900");
        pass(1_000).await;
        hans.hang_up();
        pass(100).await;
        let eva = house.caller("0792", "99900");
        pass(100).await;
        assert!(house.phone("1001").is_ringing());
        eva.hang_up();
        house.end().await;
    });
}

/// Q7: a 302 is followed only if the admin's configuration follows the agent's forwards.
#[test]
fn q7_a_forward_is_followed_only_where_the_admin_says_so() {
    play(async {
        for follows in [false, true] {
            let mut config = configuration(&[queue("99900", &["1001"])], "");
            config.agents[0].follow_forwards = follows;
            let house = House::with(simswitch::Config::default(), config, 1);
            house.when_rung("1001", Behaviour::Forward { to: "1005" });
            let colleague = house.phone("1005");
            let hans = house.caller("0791", "99900");
            pass(1_000).await;
            assert_eq!(colleague.is_ringing(), follows);
            hans.hang_up();
            let missed = house.end().await.story_of(&["misses"]);
            assert_eq!(missed, if follows { vec![] } else { vec!["1001 misses 0791: forwarded".to_owned()] });
        }
    });
}

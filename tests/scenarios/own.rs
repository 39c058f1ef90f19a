//! Q5: agents who call a queue themselves.

use simswitch::{CallSpec, Config};

use crate::house::{House, answers, pass, play};
use crate::setting::{Queue, configuration, queue};

/// A house without a link, so that only the call itself names the phone that made it.
fn unlinked(queues: &[Queue]) -> House {
    let mut config = configuration(queues, "");
    config.freeswitch.clear();
    House::with(Config::default(), config, 1)
}

/// Q5: an agent who calls a queue is not offered that call at the own phone, whatever the strategy, and status gives
/// the reason.
#[test]
fn q5_an_agent_is_not_offered_their_own_call() {
    play(async {
        for strategy in ["as-listed", "simultaneous", "longest-idle", "random"] {
            let service = queue("99900", &["1001", "1002"]).with(&format!("strategy: {strategy}"));
            let house = unlinked(&[service]);
            let own = house.switch.call(&CallSpec::phone("1001", "99900"));
            house.phone("1002").wait_ringing().await;
            pass(2_000).await;
            assert_eq!(house.phone("1001").rings(), [], "{strategy}");
            house.log_out("1002", "99900");
            house.phone("1002").wait_idle().await;
            pass(100).await;
            let reasons = ["1001", "1002"].map(|agent| house.why(agent, "99900").unwrap());
            assert_eq!(reasons, ["calls from this phone", "logged out"], "Q24, {strategy}");
            own.hang_up();
            pass(15_000).await;
            assert_eq!(house.phone("1001").rings(), [], "{strategy}");
            house.assert_empty();
        }
    });
}

/// Q4, Q5: while the other agents are paused for the calling agent's call, that agent is free for the next in line.
#[test]
fn q5_the_next_caller_gets_the_agent_who_calls_in_front() {
    play(async {
        let house = unlinked(&[queue("99900", &["1001", "1002"])]);
        house.when_rung("1002", simswitch::Behaviour::Busy);
        let own = house.switch.call(&CallSpec::phone("1001", "99900"));
        pass(1_000).await;
        house.when_rung("1001", answers(300));
        house.when_rung("1002", answers(300));
        let hans = house.caller("0791", "99900");
        assert_eq!(hans.wait_talking().await, "1001");
        assert_eq!(own.wait_talking().await, "1002", "the calling agent is not overtaken");
        hans.hang_up();
        own.hang_up();
        pass(15_000).await;
        house.assert_empty();
    });
}

/// Q5: the authenticated user is the caller: a caller who only claims an agent's number is offered to that agent, and
/// so is a user of the same name in another domain.
#[test]
fn q5_a_claim_spares_no_agent() {
    play(async {
        let house = unlinked(&[queue("99900", &["1001"])]);
        for call in [CallSpec::trunk("1001", "99900"), CallSpec::phone("1001", "99900").domain("elsewhere.example")] {
            let caller = house.switch.call(&call);
            house.phone("1001").wait_ringing().await;
            caller.hang_up();
            house.phone("1001").wait_idle().await;
        }
        let liar = house.switch.call(&CallSpec::phone("1001", "99900").claims("0791"));
        pass(2_000).await;
        assert!(!house.phone("1001").is_ringing());
        liar.hang_up();
        pass(15_000).await;
        house.assert_empty();
    });
}

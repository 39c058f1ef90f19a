//! Calls through loopback channels: callers whom a ring group or a follow-me brings, and agents whom the directory
//! rings that way (Q103, Q104).

use std::time::{Duration, Instant};

use freeswitch_queue::acd::fact::{EndedBy, Fact, MissCause};

use crate::caller::From;
use crate::lab::{LOOPED, Lab, SOON};

crate::cases!("loops":
    a_caller_through_a_ring_group_talks_on_when_the_loopback_takes_itself_out,
    an_agent_whom_the_directory_rings_through_a_loopback_is_refused,
);

/// A loopback takes itself out two seconds after both of its sides are connected; the link looks every three seconds.
const LATER: Duration = Duration::from_secs(7);
/// A number that leads to queue 99901 through a loopback.
const GROUP: &str = "7901";

fn activity(lab: &Lab, agent: &str) -> String {
    let status = lab.daemon().status();
    let agents = status["agents"].as_array().expect("agents").clone();
    let of = agents.iter().find(|a| a["id"] == agent).expect("the agent");
    of["activity"].as_str().unwrap_or_default().to_owned()
}

/// Q103, Q104.
fn a_caller_through_a_ring_group_talks_on_when_the_loopback_takes_itself_out(lab: &Lab) {
    lab.serve("  - { number: \"99901\", name: Service, participants: [\"1002\"], wrap_up_seconds: 1 }\n");
    lab.log_in("99901", &["1002"]);
    for (nth, ender) in [EndedBy::Agent, EndedBy::Caller].into_iter().enumerate() {
        let caller = lab.call(&From::outside("0791234567", "Hans"), GROUP);
        let agent = lab.phone("1002").rings(SOON);
        let shown = agent.invite.header("From").to_owned();
        assert!(shown.contains("0791234567"), "{shown}");
        let answered = agent.connects(&caller);
        lab.phone("1002").sound.hears(caller.tone, answered, SOON);
        lab.switch.channels().come_to(2, LATER).expect("only the caller's and the agent's channel");
        let alone = Instant::now();
        caller.sound.hears(lab.phone("1002").tone, alone, SOON);
        lab.phone("1002").sound.hears(caller.tone, alone, SOON);
        // A new caller is not offered to an agent who talks.
        let second = lab.call(&From::outside("0792222222", "Vreni"), "99901");
        lab.phone("1002").stays_quiet(LATER);
        assert!(!caller.is_over() && !agent.is_over(), "the conversation was interrupted");
        assert_eq!(activity(lab, "1002"), "talking");
        let ends = |fact: &Fact| match fact {
            Fact::ConversationEnded { by, .. } => Some(*by),
            _ => None,
        };
        let ended = lab.daemon().facts().iter().filter(|record| ends(&record.fact).is_some()).count();
        assert_eq!(ended, nth, "the conversation has not ended for the records");
        if ender == EndedBy::Agent {
            agent.hang_up()
        } else {
            caller.hang_up()
        }
        assert_eq!(lab.daemon().nth_fact("the end of the conversation", nth, SOON, ends).1, ender);
        let wraps = |fact: &Fact| matches!(fact, Fact::WrapUpStarted { .. }).then_some(());
        lab.daemon().nth_fact("wrap-up", nth, SOON, wraps);
        let next = lab.phone("1002").rings(SOON);
        second.hang_up();
        next.cancelled(SOON);
        second.over(SOON);
        caller.over(SOON);
        if ender == EndedBy::Caller {
            agent.byed(SOON);
        }
    }
    assert_eq!(lab.daemon().status()["repairs"], 0);
}

/// Q104: the loopback would take itself out, and the agent would count as free while talking. The log says once what to
/// write instead.
fn an_agent_whom_the_directory_rings_through_a_loopback_is_refused(lab: &Lab) {
    lab.serve(&format!(
        "  - {{ number: \"99900\", name: Sales, participants: [\"{LOOPED}\", \"1001\"], ring_seconds: 30 }}\n"
    ));
    lab.log_in("99900", &[LOOPED, "1001"]);
    let caller = lab.call(&From::outside("0791234567", "Hans"), "99900");
    let (_, missed) = lab.daemon().fact("missed", SOON, |fact| match fact {
        Fact::OfferMissed { agent, cause, .. } => Some((agent.to_string(), *cause)),
        _ => None,
    });
    assert_eq!(missed, (LOOPED.to_owned(), MissCause::Unknown));
    let ring = lab.phone("1001").rings(SOON);
    lab.daemon().says("through `loopback/`", SOON);
    // FreeSWITCH has called it by the time the daemon sees what kind of leg this is.
    if let Some(reached) = lab.phone("1003").rings_at_all(Duration::ZERO) {
        reached.cancelled(SOON);
    }
    ring.serves(caller);
}

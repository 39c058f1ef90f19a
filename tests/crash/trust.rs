//! Q5, Q22: how the daemon decides whose call it sees, and which state agents get when FreeSWITCH cannot be asked.

use std::time::Duration;

use simswitch::CallSpec;

use crate::log::Log;
use crate::site::{Setting, Site, pass, play, setting};

fn service() -> Setting {
    setting(&[r#"number: "99900", participants: ["1001"]"#])
}

/// Q5: a colleague's phone that sends 1001 in its From, and a stranger who does the same, make no agent busy: neither
/// when their calls begin, nor when a daemon finds them in FreeSWITCH's table.
#[test]
fn q5_a_claimed_number_makes_no_agent_busy() {
    for spoof in [CallSpec::phone("1009", "2000").claims("1001"), CallSpec::guest("1001", "2000")] {
        play(async move {
            let site = Site::linked(service()).await;
            drop((site.phone("1009"), site.phone("2000")));
            let spoof = site.switch.call(&spoof);
            pass(5_000).await;
            assert_eq!(site.activity("1001"), "idle", "the daemon sees the call begin");
            site.kill().await;
            site.start();
            pass(5_000).await;
            assert_eq!(site.activity("1001"), "idle", "it was found");
            let hans = site.caller("0791", "99900");
            assert_eq!(site.take("1001").await, "0791");
            hans.hang_up();
            spoof.hang_up();
            site.end().await;
        });
    }
}

/// Q5: an agent whose phone sends another user's number is still busy.
#[test]
fn q5_an_agent_who_claims_another_number_is_busy() {
    play(async {
        let site = Site::linked(service()).await;
        drop(site.phone("2000"));
        let call = site.switch.call(&CallSpec::phone("1001", "2000").claims("1009"));
        pass(2_000).await;
        assert_eq!(site.activity("1001"), "on another call", "the daemon sees the call begin");
        site.kill().await;
        pass(500).await;
        site.start();
        let hans = site.caller("0791", "99900");
        pass(5_000).await;
        assert_eq!(site.activity("1001"), "on another call", "it was found");
        assert!(site.phone("1001").rings().is_empty());
        call.hang_up();
        assert_eq!(site.take("1001").await, "0791");
        hans.hang_up();
        site.end().await;
    });
}

/// Q5: for hundreds of calls without an owner, the daemon asks FreeSWITCH a few at a time, and once for each.
#[test]
fn q5_many_calls_that_began_without_an_event() {
    play(async {
        let site = Site::linked(service()).await;
        let calls: Vec<_> = (0..300)
            .map(|n| site.switch.call(&CallSpec::phone(&(5_000 + n).to_string(), &(6_000 + n).to_string())))
            .collect();
        let call = site.switch.call(&CallSpec::phone("1001", "2000"));
        site.kill().await;
        site.start();
        site.wait_linked().await;
        pass(2_000).await;
        assert_eq!(site.activity("1001"), "on another call");
        assert!(site.wires().burst() <= 80, "{} commands at once", site.wires().burst());
        calls.iter().chain([&call]).for_each(simswitch::Caller::hang_up);
        site.end().await;
    });
}

/// Q22: FreeSWITCH runs without its own database and refuses `show channels`: an agent whose conversation ended while
/// the daemon was away counts as free after a while, as without a link; the daemon logs it and shows it in `status`.
#[test]
fn q22_without_a_table_of_channels() {
    let (log, _listening) = Log::begin();
    play(async {
        let site = Site::linked(service()).await;
        site.switch.faults(|f| f.no_sql = true);
        let hans = site.caller("0791", "99900");
        site.take("1001").await;
        site.kill().await;
        pass(500).await;
        hans.hang_up();
        pass(2_000).await;
        site.start();
        site.wait_linked().await;
        pass(5_000).await;
        assert_eq!(site.activity("1001"), "talking", "the daemon cannot tell yet");
        let troubles = site.status().links[0].troubles.clone();
        assert!(troubles.len() == 1 && troubles[0].contains("refuses `show channels`"), "{troubles:?}");
        pass(15_000).await;
        assert_ne!(site.activity("1001"), "talking");
        // Private calls are still known by their events, and the table counts again as soon as it works.
        let call = site.switch.call(&CallSpec::phone("1001", "2000"));
        pass(60_000).await;
        assert_eq!(site.activity("1001"), "on another call");
        call.hang_up();
        pass(1_000).await;
        assert_eq!(site.activity("1001"), "idle");
        site.switch.faults(|f| f.no_sql = false);
        pass(4_000).await;
        assert_eq!(site.status().links[0].troubles, [""; 0]);
        site.end().await;
    });
    let told = log.text().lines().filter(|line| line.contains("refuses `show channels`")).count();
    assert_eq!(told, 2, "once in each run of the daemon");
}

/// Q5: the daemon asks for the default domain until it gets an answer: one lost answer does not make every agent a
/// stranger for good.
#[test]
fn q5_the_default_domain_is_asked_again() {
    play(async {
        let site = Site::linked(service().without_domain()).await;
        site.unlink();
        site.switch.faults(|f| f.reply_delay = Some(Duration::from_millis(6_000)));
        site.set_linked(true);
        pass(30_000).await;
        site.switch.faults(|f| f.reply_delay = None);
        pass(20_000).await;
        let call = site.switch.call(&CallSpec::phone("1001", "2000"));
        pass(2_000).await;
        assert_eq!(site.activity("1001"), "on another call");
        call.hang_up();
        site.end().await;
    });
}

/// Q24: the reason that a link is down is logged when it changes, and stands in `status`.
#[test]
fn q24_status_says_why_a_link_is_down() {
    let (log, _listening) = Log::begin();
    play(async {
        let site = Site::linked(service()).await;
        site.unlink();
        pass(30_000).await;
        let refused = site.status().links;
        assert!(!refused[0].up && refused[0].troubles[0].contains("cannot connect to the Event Socket"), "{refused:?}");
        site.wrong_password(true);
        site.set_linked(true);
        pass(60_000).await;
        let wrong = site.status().links;
        assert!(wrong[0].troubles[0].contains("FreeSWITCH refused the password"), "{wrong:?}");
        site.wrong_password(false);
        site.link().await;
        assert_eq!(site.status().links[0].troubles, [""; 0]);
        site.end().await;
    });
    for reason in ["cannot connect to the Event Socket", "FreeSWITCH refused the password"] {
        assert_eq!(log.text().lines().filter(|line| line.contains(reason)).count(), 1, "{reason}: {}", log.text());
    }
}

/// Q1: a queue number that the dialplan does not route to the daemon is reported, when the link comes up and when the
/// file changes.
#[test]
fn q1_a_number_outside_the_dialplan_is_reported() {
    let (log, _listening) = Log::begin();
    play(async {
        let outside = r#"number: "77700", participants: ["1001"]"#;
        let inside = r#"number: "99900", participants: ["1001"]"#;
        let site = Site::open(setting(&[inside, outside]).numbers(r"99\d{3}|88\d{3}"));
        site.wait_linked().await;
        pass(1_000).await;
        let troubles = site.status().links[0].troubles.clone();
        assert!(troubles.len() == 1 && troubles[0].contains("the number of queue 77700"), "{troubles:?}");
        site.reload(&setting(&[inside, r#"number: "88123", participants: ["1001"]"#]));
        pass(1_000).await;
        assert_eq!(site.status().links[0].troubles, [""; 0]);
        site.end().await;
    });
    assert_eq!(log.text().lines().filter(|line| line.contains("the number of queue 77700")).count(), 1);
}

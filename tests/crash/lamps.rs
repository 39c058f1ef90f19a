//! Q16: a lamp is lit while its agent is logged in to its queue, after any restart.

use simswitch::CallSpec;

use crate::site::{Setting, Site, pass, play, setting};

fn service() -> Setting {
    setting(&[r#"number: "99900", participants: ["1001", "1002"]"#, r#"number: "99901", participants: ["1001"]"#])
        .without("1002", "99900")
}

fn lit(site: &Site) -> Vec<String> {
    let mut lit: Vec<String> = site.switch.lamps().into_iter().filter(|l| l.lit).map(|l| l.entity).collect();
    lit.sort();
    lit
}

/// Q16: every participant of every queue has a lamp, set as soon as the link is up: after the start, after a restart of
/// either side, and when a phone subscribes late.
#[test]
fn q16_after_restarts_and_on_subscription() {
    play(async {
        let site = Site::open(service());
        let logged_in = ["*4199900*1001@lab", "*4199901*1001@lab"];
        pass(200).await;
        assert_eq!(lit(&site), logged_in);
        assert_eq!(
            site.switch.lamps().len(),
            2,
            "no state is sent for a logged-out agent: another daemon may have the login"
        );
        site.kill().await;
        site.switch.restart();
        pass(1_000).await;
        site.start();
        pass(500).await;
        assert_eq!(lit(&site), logged_in);
        site.switch.restart();
        pass(7_000).await;
        assert_eq!(lit(&site), logged_in);
        let told = |site: &Site| site.switch.stats().events;
        let before = told(&site);
        site.phone("1003").subscribe_lamp("*4199900*1001");
        pass(100).await;
        assert!(told(&site) > before, "each subscription is answered");
        site.end().await;
    });
}

/// Q16: a login lights the lamp, a logout darkens it: by the code, by the key itself, and by the configuration.
#[test]
fn q16_follows_logins_and_the_configuration() {
    play(async {
        let site = Site::open(service());
        pass(200).await;
        site.dial("1002", "*4199900*1002").wait_ended().await;
        assert!(site.switch.is_lit("*4199900*1002"));
        site.dial("1001", "*4299900").wait_ended().await;
        assert!(!site.switch.is_lit("*4199900*1001"));
        // The reload removes the participant 1002 and adds 1003, who logs in.
        let other =
            [r#"number: "99900", participants: ["1001", "1003"]"#, r#"number: "99901", participants: ["1001"]"#];
        site.reload(&setting(&other));
        pass(200).await;
        assert!(!site.switch.is_lit("*4199900*1002"));
        site.dial("1003", "*4199900").wait_ended().await;
        assert!(site.switch.is_lit("*4199900*1003"));
        // The queue is removed: its lamps go dark. The domain changes: the lamps move to it.
        site.reload(&setting(&[r#"number: "99900", participants: ["1001", "1003"]"#]).with("# other\n"));
        pass(200).await;
        assert_eq!(lit(&site), ["*4199900*1003@lab"]);
        site.end().await;
    });
}

/// Q16: a phone that subscribes in another domain than that of the agents' phones, such as the server's address, has
/// lamps that follow as well.
#[test]
fn q16_subscribed_in_another_domain() {
    play(async {
        let site = Site::linked(service()).await;
        let lit = |site: &Site, name: &str| lit(site).contains(&name.to_owned());
        let phone = site.phone("1003");
        phone.subscribe_lamp_at("*4199900*1001", "10.0.0.1");
        pass(100).await;
        assert!(lit(&site, "*4199900*1001@10.0.0.1"));
        site.dial("1001", "*4299900").wait_ended().await;
        pass(100).await;
        assert!(!lit(&site, "*4199900*1001@10.0.0.1") && !lit(&site, "*4199900*1001@lab"));
        // Also for logins and logouts while the link is down.
        site.unlink();
        site.dial("1001", "*4199900").wait_ended().await;
        site.link().await;
        pass(100).await;
        assert!(lit(&site, "*4199900*1001@10.0.0.1") && lit(&site, "*4199900*1001@lab"));
        site.end().await;
    });
}

/// Q16: when the codes of the keys or their domain change, the lamps of the old names go dark.
#[test]
fn q16_follows_codes_and_domains() {
    play(async {
        let site = Site::linked(service()).await;
        pass(200).await;
        site.reload(&service().with("feature_codes: { login: \"*51\" }\n"));
        pass(200).await;
        assert_eq!(lit(&site), ["*5199900*1001@lab", "*5199901*1001@lab"]);
        let text = std::fs::read_to_string(&site.file).unwrap().replace("domain: lab", "domain: other");
        std::fs::write(&site.file, text).unwrap();
        freeswitch_queue::admin::reload(&site.daemon(), &site.file);
        pass(200).await;
        assert_eq!(lit(&site), ["*5199900*1001@other", "*5199901*1001@other"]);
        site.end().await;
    });
}

/// Q16: the daemon does not answer a subscription to an entity that is not one of its lamps; one of its own lamps that
/// is off is reported as off.
#[test]
fn q16_a_subscription_to_no_lamp_is_not_answered() {
    play(async {
        let site = Site::open(service());
        pass(200).await;
        let all = site.switch.lamps().len();
        let phone = site.phone("1003");
        for (entity, answered) in [
            ("*4199999*1001", false),
            ("*4199900*7777", false),
            ("1001", false),
            ("*97", false),
            ("*4199900*1002", true),
        ] {
            let before = site.switch.lamps().len();
            phone.subscribe_lamp(entity);
            pass(100).await;
            assert_eq!(site.switch.lamps().len() - before, usize::from(answered), "{entity}");
            assert!(!site.switch.is_lit(entity));
        }
        assert_eq!(site.switch.lamps().len(), all + 1);
        site.end().await;
    });
}

/// Q107: another daemon beside the same switch, with the same queue and no agent logged in, switches no lamp off: not
/// when its link comes up, not when its file changes, and not when a phone subscribes. It still reports the agents that
/// are logged in to it.
#[test]
fn q16_q107_a_fallback_leaves_the_lamps_alone() {
    play(async {
        let site = Site::linked(service()).await;
        pass(200).await;
        let logged_in = ["*4199900*1001@lab", "*4199901*1001@lab"];
        assert_eq!(lit(&site), logged_in);
        let nobody = service().without("1001", "99900").without("1001", "99901");
        let fallback = site.beside("127.0.0.1:8085", nobody.clone());
        fallback.wait_linked().await;
        pass(5_000).await;
        assert_eq!(lit(&site), logged_in, "after the fallback's link comes up");
        fallback.reload(&nobody.with("feature_codes: { login: \"*51\" }\n"));
        fallback.reload(&service());
        pass(1_000).await;
        assert_eq!(lit(&site), logged_in, "its file changed");
        site.phone("1003").subscribe_lamp("*4199900*1001");
        pass(1_000).await;
        assert_eq!(lit(&site), logged_in, "a phone asked");
        fallback.unlink();
        fallback.link().await;
        pass(1_000).await;
        assert_eq!(lit(&site), logged_in, "after the fallback's link comes back");
        // The lamp is lit only while the fallback's agent is logged in, also when no other daemon has a login.
        site.dial("1001", "*4299900").wait_ended().await;
        pass(200).await;
        assert_eq!(lit(&site), ["*4199901*1001@lab"]);
    });
}

/// Q21: subscriptions to made-up lamps, in whatever domain, do not displace those of real agents.
#[test]
fn q16_q21_made_up_lamps_displace_no_real_ones() {
    play(async {
        let site = Site::linked(service()).await;
        let phone = site.phone("1003");
        for n in 0..5_000 {
            phone.subscribe_lamp_at(&format!("*4199900*{n}"), &format!("made-up-{}", n % 3));
        }
        phone.subscribe_lamp_at("*4199900*1001", "10.0.0.1");
        pass(1_000).await;
        assert_eq!(
            site.switch.lamps().into_iter().filter(|l| l.entity.contains("made-up")).count(),
            2,
            "of agents that are"
        );
        site.dial("1001", "*4299900").wait_ended().await;
        pass(1_000).await;
        assert_eq!(lit(&site), ["*4199901*1001@lab"]);
    });
}

/// Q16: two thousand lamps are set a few at a time, and do not delay the link's other commands.
#[test]
fn q16_many_lamps_are_paced() {
    play(async {
        let agents: Vec<String> = (2_000..2_500).map(|n| format!("{:?}", n.to_string())).collect();
        let agents = agents.join(", ");
        let queues: Vec<String> = (0..4).map(|n| format!(r#"number: "9990{n}", participants: [{agents}]"#)).collect();
        let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
        let site = Site::linked(setting(&queues)).await;
        pass(3_500).await;
        assert_eq!(lit(&site).len(), 2_000);
        assert!(site.wires().burst() <= 80, "{} commands at once", site.wires().burst());
        let login = site.switch.call(&CallSpec::phone("2000", "*4299900"));
        login.wait_ended().await;
        assert!(!site.switch.is_lit("*4199900*2000"));
        site.end().await;
    });
}

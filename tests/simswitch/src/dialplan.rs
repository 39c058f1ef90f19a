//! The routes of dialled numbers: a table, tried in order.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// One application with its argument.
pub type Step = (String, String);

/// The properties a route may use.
#[derive(Debug)]
pub struct RouteRequest<'a> {
    /// The dialled number.
    pub destination: &'a str,
    /// The context in which it was dialled.
    pub context: &'a str,
    /// Directory domain.
    pub domain: &'a str,
    /// Whether a phone of that number is in the directory.
    pub is_phone: bool,
    /// The channel's variables.
    pub variables: HashMap<&'a str, &'a str>,
}

impl RouteRequest<'_> {
    /// A variable read as a number; 0 when it is none.
    #[must_use]
    pub fn number(&self, variable: &str) -> u64 {
        self.variables.get(variable).and_then(|v| v.parse().ok()).unwrap_or(0)
    }
}

type RouteFn = Arc<dyn Fn(&RouteRequest<'_>) -> Option<Vec<Step>> + Send + Sync>;

/// A table of routes; the first that matches decides. Without a match the call ends with `NO_ROUTE_DESTINATION`.
#[derive(Clone, Default)]
pub struct Dialplan {
    routes: Vec<RouteFn>,
}

impl fmt::Debug for Dialplan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialplan({} routes)", self.routes.len())
    }
}

/// How a queue's number is held and retried when nothing listens at its socket.
#[derive(Debug, Clone)]
pub struct QueueRoute {
    /// The argument of `socket`.
    pub socket: String,
    /// Played between two attempts.
    pub waiting_tone: String,
    /// Attempts before the fallback.
    pub tries: u64,
    /// The application of the fallback.
    pub fallback: Vec<Step>,
}

impl QueueRoute {
    /// 1 s of ring tone between attempts, 60 attempts, then a hang-up.
    #[must_use]
    pub fn new(socket: &str) -> Self {
        Self {
            socket: socket.into(),
            waiting_tone: "tone_stream://%(1000,0,425)".into(),
            tries: 60,
            fallback: vec![step("playback", "sorry.wav"), step("hangup", "NORMAL_TEMPORARY_FAILURE")],
        }
    }

    fn steps(&self, request: &RouteRequest<'_>) -> Vec<Step> {
        let tries = request.number("queue_tries");
        if tries >= self.tries {
            return self.fallback.clone();
        }
        // As in the project's own dialplan: only a caller who was held here returns to a place.
        let returns = request.variables.get("fsq_hold") == Some(&request.destination);
        let mark = if returns { "^^;fsq_held=true;fsq_hold=" } else { "^^;fsq_held=;fsq_hold=" };
        let mut steps = vec![step("multiset", mark)];
        if !request.destination.starts_with('*') {
            steps.push(step("answer", ""));
        }
        steps.extend([
            step("set", "socket_resume=true"),
            step("set", &format!("queue_tries={}", tries + 1)),
            step("socket", &self.socket),
            step("playback", &self.waiting_tone),
            step("set", &format!("fsq_hold={}", request.destination)),
            step("transfer", &format!("{} XML default", request.destination)),
        ]);
        steps
    }
}

/// `99` and three digits, or a feature code `*41…` / `*42…`.
#[must_use]
pub fn is_queue_number(number: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (number.len() == 5 && number.starts_with("99") && digits(number))
        || number.starts_with("*41")
        || number.starts_with("*42")
}

/// One application with its argument.
#[must_use]
pub fn step(application: &str, argument: &str) -> Step {
    (application.to_owned(), argument.to_owned())
}

impl Dialplan {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route after the others.
    #[must_use]
    pub fn route(mut self, f: impl Fn(&RouteRequest<'_>) -> Option<Vec<Step>> + Send + Sync + 'static) -> Self {
        self.routes.push(Arc::new(f));
        self
    }

    /// Adds one number with fixed steps.
    #[must_use]
    pub fn number(self, number: &str, steps: Vec<Step>) -> Self {
        let number = number.to_owned();
        self.route(move |request| (request.destination == number).then(|| steps.clone()))
    }

    /// Adds the queue's numbers.
    #[must_use]
    pub fn queue(self, queue: QueueRoute) -> Self {
        self.route(move |request| is_queue_number(request.destination).then(|| queue.steps(request)))
    }

    /// Adds the directory's phones (bridged) and every other four-digit number (answers with a tone).
    #[must_use]
    pub fn internal(self) -> Self {
        self.route(|request| {
            if request.is_phone {
                return Some(vec![
                    step("set", &format!("domain_name={}", request.domain)),
                    step("bridge", &format!("user/{}@{}", request.destination, request.domain)),
                ]);
            }
            let internal = request.destination.len() == 4 && request.destination.bytes().all(|b| b.is_ascii_digit());
            internal.then(|| vec![step("answer", ""), step("playback", "tone_stream://%(1000,0,1633);loops=-1")])
        })
    }

    /// The dialplan of the project: queue numbers and feature codes to `socket`, phones, internal numbers.
    #[must_use]
    pub fn standard(socket: &str) -> Self {
        Self::new().queue(QueueRoute::new(socket)).internal()
    }

    pub(crate) fn steps(&self, request: &RouteRequest<'_>) -> Option<Vec<Step>> {
        self.routes.iter().find_map(|route| route(request))
    }
}

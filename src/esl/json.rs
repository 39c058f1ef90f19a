//! Events as JSON.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The headers of a JSON event, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonEvent {
    headers: Vec<(String, String)>,
    body: String,
}

impl JsonEvent {
    /// Parses a JSON object. Invalid UTF-8, which FreeSWITCH copies into it, becomes U+FFFD. Values other than text,
    /// numbers, booleans and lists of these are left out, and so are headers beyond the first `most`.
    pub(crate) fn parse(text: &[u8], most: usize) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let Members(mut headers) = serde_json::from_str(&text).ok()?;
        let body = headers.iter().position(|(name, _)| name == "_body").map(|at| headers.remove(at).1);
        headers.truncate(most);
        Some(Self { headers, body: body.unwrap_or_default() })
    }

    /// The value of the first header whose name is `prefix` followed by `name`; `None` when it is empty.
    pub(crate) fn get(&self, prefix: &str, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.strip_prefix(prefix) == Some(name))?;
        (!value.is_empty() && value != "_undef_").then_some(value)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn body(&self) -> &str {
        &self.body
    }
}

struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event: a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if let Value(Some(value)) = value {
                        members.push((name, value));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A value as the plain format writes it: a list is `ARRAY::a|:b`.
struct Value(Option<String>);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value(Some(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value(Some(text)))
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
                Ok(Value(Some(truth.to_string())))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
                Ok(Value(Some(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
                Ok(Value(Some(number.to_string())))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
                Ok(Value(Some(number.to_string())))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value(None))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
                let mut items = Vec::new();
                while let Some(Value(item)) = list.next_element()? {
                    items.extend(item);
                }
                Ok(Value(Some(format!("ARRAY::{}", items.join("|:")))))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value(None))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

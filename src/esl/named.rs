//! FreeSWITCH's names as enums.

/// Defines an enum with one member for each of FreeSWITCH's names. The last member, `Other`, stands for all other
/// names.
macro_rules! named {
    ($(#[$doc:meta])* $enum:ident { $($(#[$about:meta])* $member:ident = $name:literal,)+ } else $other:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $enum {
            $($(#[$about])* $member,)+
            #[doc = $other]
            Other,
        }

        impl $enum {
            /// All members but `Other`.
            pub const NAMED: &'static [Self] = &[$(Self::$member),+];

            /// FreeSWITCH's name; `OTHER` for [`Self::Other`].
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$member => $name,)+
                    Self::Other => "OTHER",
                }
            }

            /// The member with FreeSWITCH's `name`, compared exactly.
            pub fn from_name(name: &[u8]) -> Self {
                $(if name == $name.as_bytes() { return Self::$member; })+
                Self::Other
            }
        }

        impl std::fmt::Display for $enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named;

#[cfg(test)]
mod tests {
    use super::super::cause::Cause;
    use super::super::kind::EventKind;

    #[test]
    fn names_and_members_correspond_one_to_one() {
        for &cause in Cause::NAMED {
            assert_eq!(Cause::from_name(cause.as_str().as_bytes()), cause);
            assert!(cause.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        }
        for &kind in EventKind::NAMED {
            assert_eq!(EventKind::from_name(kind.as_str().as_bytes()), kind);
        }
        assert_eq!([Cause::from_name(b"no_answer"), Cause::from_name(b"")], [Cause::Other; 2]);
        assert_eq!([EventKind::from_name(b"CHANNEL_ANSWER "), EventKind::from_name(b"")], [EventKind::Other; 2]);
    }
}

//! What every protocol needs of a link: liveness, reconnecting, its life cycle.

//! Accepted resources on disk: read when the control plane is away at the start, written when they change.
use super::{Event, Plane};
use crate::control::log::log;
use crate::control::saved;
use crate::control::xds::StreamId;
use ripstop_core::time::Time;

impl Plane {
    pub(super) fn load(&mut self) {
        self.load_at = Time::NEVER;
        if self.is_connected() {
            return;
        }
        let Some(path) = self.options.snapshot.clone() else { return };
        let read = std::fs::read(&path).map_err(|error| error.to_string());
        match read.and_then(|bytes| saved::decode(&bytes)) {
            Ok(applies) => {
                log!(Warning, "the control plane is away: starting with what {} has", path.display());
                for apply in applies {
                    self.apply(&StreamId::Ads, apply);
                }
                self.save_at = Time::NEVER;
            }
            Err(why) => log!(Warning, "the control plane is away, and {}: {why}", path.display()),
        }
    }

    pub(super) fn save(&mut self) {
        self.save_at = Time::NEVER;
        let Some(path) = self.options.snapshot.clone() else { return };
        self.is_saving = true;
        let content = saved::encode(self.store.saved());
        let events = self.events.clone();
        tokio::task::spawn_blocking(move || {
            let result =
                saved::write(&path, &content).map_err(|error| format!("{}: {error}", path.display()));
            let _ = events.send(Event::Saved(result));
        });
    }
}

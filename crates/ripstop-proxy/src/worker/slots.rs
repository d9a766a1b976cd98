//! Connections and exchanges by key. A key names one tenant of a slot: once that is gone the key finds nothing.
use super::timer::Armed;

/// A tenant of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub index: u32,
    pub generation: u32,
}

impl Key {
    /// Finds nothing.
    pub const NONE: Key = Key { index: u32::MAX, generation: u32::MAX };
}

/// Keys are packed into epoll's 64 bits, the highest of which marks what is no connection.
const GENERATIONS: u32 = 0x7fff_ffff;

struct Slot<T> {
    generation: u32,
    value: Option<T>,
    armed: Armed,
}

/// A growing table of slots; those that are free are used again.
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    pub fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Key { index, generation: slot.generation };
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: 0, value: Some(value), armed: Armed::default() });
        Key { index, generation: 0 }
    }

    pub fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    pub fn remove(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1) & GENERATIONS;
        self.free.push(key.index);
        Some(value)
    }

    /// Take a tenant out for a while; its slot stays its own until `put_back` or `vacate`.
    pub fn take(&mut self, key: Key) -> Option<T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        if slot.generation == key.generation { slot.value.take() } else { None }
    }

    /// The end of `take`.
    pub fn put_back(&mut self, key: Key, value: T) {
        let slot = &mut self.slots[key.index as usize];
        debug_assert!(slot.generation == key.generation && slot.value.is_none());
        slot.value = Some(value);
    }

    /// The other end of `take`: the slot is free.
    pub fn vacate(&mut self, key: Key) {
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.wrapping_add(1) & GENERATIONS;
        self.free.push(key.index);
    }

    /// What is armed for a slot, whoever its tenant is.
    pub fn armed(&mut self, index: u32) -> Option<&mut Armed> {
        self.slots.get_mut(index as usize).map(|slot| &mut slot.armed)
    }

    /// The key of a slot's present tenant.
    pub fn tenant(&self, index: u32) -> Option<Key> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().map(|_| Key { index, generation: slot.generation })
    }

    /// The keys of all tenants.
    pub fn keys(&self) -> Vec<Key> {
        (0..self.slots.len() as u32).filter_map(|index| self.tenant(index)).collect()
    }
}

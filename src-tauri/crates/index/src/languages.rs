//! Which chunk keys are of which language.

use docent_domain::Language;
use roaring::RoaringBitmap;

/// The keys of an index, by language; a key is in one set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Languages {
    pub croatian: RoaringBitmap,
    pub english: RoaringBitmap,
    pub undetermined: RoaringBitmap,
}

impl Languages {
    /// The number a language has on disk. Changing it breaks data.
    pub(crate) const fn stored(language: Language) -> u8 {
        match language {
            Language::Undetermined => 0,
            Language::Croatian => 1,
            Language::English => 2,
        }
    }

    pub(crate) const fn restored(stored: u8) -> Option<Language> {
        match stored {
            0 => Some(Language::Undetermined),
            1 => Some(Language::Croatian),
            2 => Some(Language::English),
            _ => None,
        }
    }

    #[must_use]
    pub const fn keys(&self, language: Language) -> &RoaringBitmap {
        match language {
            Language::Croatian => &self.croatian,
            Language::English => &self.english,
            Language::Undetermined => &self.undetermined,
        }
    }

    /// Each language that has keys, with them.
    pub fn present(&self) -> impl Iterator<Item = (Language, &RoaringBitmap)> {
        [
            Language::Croatian,
            Language::English,
            Language::Undetermined,
        ]
        .into_iter()
        .map(|language| (language, self.keys(language)))
        .filter(|(_, keys)| !keys.is_empty())
    }

    #[must_use]
    pub fn of(&self, key: u32) -> Option<Language> {
        self.present()
            .find(|(_, keys)| keys.contains(key))
            .map(|(language, _)| language)
    }

    #[must_use]
    pub fn all(&self) -> RoaringBitmap {
        &(&self.croatian | &self.english) | &self.undetermined
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.croatian.len() + self.english.len() + self.undetermined.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn contains(&self, key: u32) -> bool {
        self.croatian.contains(key) || self.english.contains(key) || self.undetermined.contains(key)
    }

    pub(crate) fn insert(&mut self, key: u32, language: Language) {
        for (other, keys) in [
            (Language::Croatian, &mut self.croatian),
            (Language::English, &mut self.english),
            (Language::Undetermined, &mut self.undetermined),
        ] {
            if other == language {
                keys.insert(key);
            } else {
                keys.remove(key);
            }
        }
    }

    pub(crate) fn remove(&mut self, removed: &RoaringBitmap) {
        self.croatian -= removed;
        self.english -= removed;
        self.undetermined -= removed;
    }

    /// Adds the keys of `other` that are not here.
    pub(crate) fn extend(&mut self, other: &Self) {
        let known = self.all();
        self.croatian |= &other.croatian - &known;
        self.english |= &other.english - &known;
        self.undetermined |= &other.undetermined - &known;
    }
}

//! Seeded data, and an index in a temporary folder.

use docent_domain::{ChunkKey, Language};
use docent_index::{OpenReport, Tuning, VectorEntry, VectorSpec, WordEntry, WorkspaceIndex};
use tempfile::TempDir;

/// splitmix64: the same numbers on every machine and in every version.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn chance(&mut self, of: f32) -> bool {
        (self.next() >> 40) as f32 / (1 << 24) as f32 <= of
    }

    /// About normal, of variance 1.
    pub fn normal(&mut self) -> f32 {
        let sum: f32 = (0..4)
            .map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32)
            .sum();
        (sum - 2.0) * 3.0_f32.sqrt()
    }
}

/// Unit vectors shaped like an embedder's: a common mean that holds most of the length, a
/// spectrum that falls as a power law, and clusters. The spectrum's directions stay close to the
/// axes, which is harder on signs than real embedders are.
pub struct Anisotropic {
    mean: Vec<f32>,
    deviations: Vec<f32>,
    mirrors: Vec<Vec<f32>>,
    centres: Vec<Vec<f32>>,
    /// Share of the variance that lies between clusters.
    clustered: f32,
    residual: f32,
}

impl Anisotropic {
    /// Like multilingual-e5-small: 82 % of the squared length in the mean, a tenth of the rest in
    /// its first direction.
    pub fn like_e5(dimensions: usize, clusters: usize, random: &mut Random) -> Self {
        let mut mean: Vec<f32> = (0..dimensions).map(|_| random.normal()).collect();
        scale(&mut mean, 0.904);
        let deviations: Vec<f32> = (1..=dimensions).map(|i| (i as f32).powf(-0.35)).collect();
        let total: f32 = deviations.iter().map(|d| d * d).sum();
        let deviations = deviations.iter().map(|d| d / total.sqrt()).collect();
        let mirrors = (0..6)
            .map(|_| {
                let mut mirror: Vec<f32> = (0..dimensions).map(|_| random.normal()).collect();
                scale(&mut mirror, 1.0);
                mirror
            })
            .collect();
        let mut shape = Self {
            mean,
            deviations,
            mirrors,
            centres: Vec::new(),
            clustered: if clusters > 0 { 0.5 } else { 0.0 },
            residual: 0.427,
        };
        shape.centres = (0..clusters).map(|_| shape.spread(random)).collect();
        shape
    }

    fn spread(&self, random: &mut Random) -> Vec<f32> {
        let mut vector: Vec<f32> = self
            .deviations
            .iter()
            .map(|deviation| deviation * random.normal())
            .collect();
        for mirror in &self.mirrors {
            let along: f32 = 2.0 * vector.iter().zip(mirror).map(|(x, m)| x * m).sum::<f32>();
            for (x, m) in vector.iter_mut().zip(mirror) {
                *x -= along * m;
            }
        }
        vector
    }

    pub fn draw(&self, random: &mut Random) -> Vec<f32> {
        let mut vector = self.spread(random);
        let own = (1.0 - self.clustered).sqrt();
        for x in &mut vector {
            *x *= own;
        }
        if !self.centres.is_empty() {
            let centre = &self.centres[random.below(self.centres.len())];
            for (x, c) in vector.iter_mut().zip(centre) {
                *x += self.clustered.sqrt() * c;
            }
        }
        for (x, mean) in vector.iter_mut().zip(&self.mean) {
            *x = mean + self.residual * *x;
        }
        scale(&mut vector, 1.0);
        vector
    }
}

fn scale(vector: &mut [f32], length: f32) {
    let now = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    for x in vector {
        *x *= length / now;
    }
}

pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot: f32 = a.iter().zip(b).map(|(x, y)| x * y).sum();
    let norm = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
    dot / (norm(a) * norm(b))
}

pub fn spec(dimensions: usize) -> VectorSpec {
    VectorSpec {
        fingerprint: "test-embedder 1".into(),
        dimensions,
    }
}

/// Limits that make small data take the ways of large data.
pub fn small_tuning() -> Tuning {
    Tuning {
        exact_limit: 64,
        rescored: 60,
        map_bytes: 1 << 20,
        max_map_bytes: None,
        trees_from: u64::MAX,
        trees_look_at: 1_000_000,
    }
}

pub struct Bench {
    pub dir: TempDir,
    pub dimensions: usize,
    pub tuning: Tuning,
}

impl Bench {
    pub fn new(dimensions: usize) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            dimensions,
            tuning: small_tuning(),
        }
    }

    pub fn open(&self) -> WorkspaceIndex {
        self.open_reported().0
    }

    pub fn open_reported(&self) -> (WorkspaceIndex, OpenReport) {
        WorkspaceIndex::open_tuned(self.dir.path(), spec(self.dimensions), self.tuning).unwrap()
    }
}

pub fn word<'a>(key: u32, header: &'a str, text: &'a str, language: Language) -> WordEntry<'a> {
    WordEntry {
        key: ChunkKey(key),
        header,
        text,
        language,
    }
}

pub fn dense(key: u32, dense: &[f32]) -> VectorEntry<'_> {
    VectorEntry {
        key: ChunkKey(key),
        language: Language::English,
        dense,
        sparse: None,
    }
}

pub fn keys(hits: &[docent_index::Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.key.0).collect()
}

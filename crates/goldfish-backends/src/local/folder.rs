//! The files of a checkpoint folder, which are not trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor, WithDType};
use goldfish_digest::HashingReader;
use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use serde_json::Value;

use super::error::CheckpointError;
use super::settings::{Settings, open_file};

/// Largest header of a safetensors file, in bytes.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;
/// Most files that a checkpoint is divided into.
pub const MAX_SHARDS: usize = 4096;

/// The tensors of a checkpoint folder: one safetensors file, or several with an index.
#[derive(Debug)]
pub struct TensorFiles {
    folder: PathBuf,
    files: Vec<TensorFile>,
    /// The file of each tensor.
    file_of: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct TensorFile {
    path: PathBuf,
    header: Metadata,
    /// Offset of the tensors' bytes.
    data: u64,
}

impl TensorFiles {
    /// Opens `stem.safetensors`, or the shards that `stem.safetensors.index.json` names.
    ///
    /// # Errors
    ///
    /// If there is neither, or a file is damaged.
    pub fn open(folder: &Path, stem: &str) -> Result<Self, CheckpointError> {
        let single = folder.join(format!("{stem}.safetensors"));
        let index = folder.join(format!("{stem}.safetensors.index.json"));
        let mut opened = Self { folder: folder.into(), files: Vec::new(), file_of: BTreeMap::new() };
        if single.exists() {
            opened.add(&single)?;
        } else if index.exists() {
            for (shard, listed) in shards(&index)? {
                opened.add(&folder.join(&shard))?;
                if let Some(name) =
                    listed.iter().find(|name| opened.file_of.get(*name) != Some(&(opened.files.len() - 1)))
                {
                    return Err(CheckpointError::tensor(
                        &index,
                        name,
                        format!("is said to be in {shard}, but is not"),
                    ));
                }
            }
        } else {
            let pickled = ["pytorch_model.bin", "pytorch_model.bin.index.json", "adapter_model.bin"];
            let advice = match pickled.iter().find(|name| folder.join(name).exists()) {
                Some(name) => format!(
                    "; {name} can run code when it is opened and is not read: save the model as safetensors"
                ),
                None => String::new(),
            };
            return Err(CheckpointError::file(
                folder,
                format!("has no {stem}.safetensors and no {stem}.safetensors.index.json{advice}"),
            ));
        }
        Ok(opened)
    }

    fn add(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let file = TensorFile::open(path)?;
        for name in file.header.offset_keys() {
            if self.file_of.insert(name.clone(), self.files.len()).is_some() {
                return Err(CheckpointError::tensor(path, &name, "is in another file too"));
            }
        }
        self.files.push(file);
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.file_of.keys().map(String::as_str)
    }

    pub(super) fn path_of(&self, name: &str) -> &Path {
        self.file_of.get(name).map_or(&self.folder, |file| &self.files[*file].path)
    }

    pub(super) fn shape(&self, name: &str) -> Option<&[usize]> {
        let file = &self.files[*self.file_of.get(name)?];
        Some(&file.header.info(name)?.shape)
    }

    /// Elements of all tensors; of bytes, which hold two numbers each, twice as many.
    pub(super) fn elements(&self) -> u64 {
        self.total(|info| {
            let first = if info.dtype == Dtype::U8 { 2u64 } else { 1 };
            info.shape.iter().fold(first, |product, size| product.saturating_mul(*size as u64))
        })
    }

    /// Bytes of all tensors in memory, where a byte of two numbers takes four.
    pub(super) fn bytes(&self) -> u64 {
        self.total(|info| {
            let stored = info.data_offsets.1.saturating_sub(info.data_offsets.0) as u64;
            if info.dtype == Dtype::U8 { stored.saturating_mul(4) } else { stored }
        })
    }

    fn total(&self, of_tensor: impl Fn(&TensorInfo) -> u64) -> u64 {
        let headers = self.files.iter().map(|file| file.header.tensors());
        headers.flat_map(|header| header.into_values()).map(of_tensor).fold(0, u64::saturating_add)
    }

    /// A tensor as `f32`, all of whose values are finite.
    ///
    /// # Errors
    ///
    /// If it is missing, has another shape, can't be read, or has a value that is not finite.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        Ok(self.read_stored(name, shape)?.to_dtype(DType::F32)?)
    }

    /// Like [`TensorFiles::read`], in the precision in which it is stored: `f32`, `bf16` or `f16`.
    pub(super) fn read_stored(&self, name: &str, shape: &[usize]) -> Result<Tensor, CheckpointError> {
        let (file, info) = self.find(name, shape)?;
        let tensor = match info.dtype {
            Dtype::F32 => file.tensor(name, info, f32::from_le_bytes, |value: &f32| value.is_finite())?,
            Dtype::F16 => file.tensor(name, info, f16::from_le_bytes, |value: &f16| value.is_finite())?,
            Dtype::BF16 => file.tensor(name, info, bf16::from_le_bytes, |value: &bf16| value.is_finite())?,
            other => {
                let reason = format!(
                    "is of type {other:?}; F32, F16 and BF16 are supported: save the model as one of them"
                );
                return Err(CheckpointError::tensor(&file.path, name, reason));
            }
        };
        Ok(tensor.reshape(shape)?)
    }

    /// A tensor of bytes.
    pub(super) fn read_bytes(&self, name: &str, shape: &[usize]) -> Result<Vec<u8>, CheckpointError> {
        let (file, info) = self.find(name, shape)?;
        if info.dtype != Dtype::U8 {
            let reason = format!("is of type {:?} in place of U8", info.dtype);
            return Err(CheckpointError::tensor(&file.path, name, reason));
        }
        Ok(file.tensor(name, info, u8::from_le_bytes, |_| true)?.to_vec1()?)
    }

    /// The file that has a tensor of this shape.
    fn find(&self, name: &str, shape: &[usize]) -> Result<(&TensorFile, &TensorInfo), CheckpointError> {
        let missing = || {
            let reason = format!("is missing; the settings require one of shape {shape:?}");
            CheckpointError::tensor(&self.folder, name, reason)
        };
        let file = &self.files[*self.file_of.get(name).ok_or_else(missing)?];
        let info = file.header.info(name).ok_or_else(missing)?;
        if info.shape != shape {
            let reason = format!("has shape {:?}, the settings require {shape:?}", info.shape);
            return Err(CheckpointError::tensor(&file.path, name, reason));
        }
        Ok((file, info))
    }
}

/// Bytes of one read.
const READ_BYTES: usize = 4 << 20;

impl TensorFile {
    /// A tensor of numbers of `N` bytes, all of them finite, as a vector.
    fn tensor<T: WithDType + Display, const N: usize>(
        &self,
        name: &str,
        info: &TensorInfo,
        of_bytes: impl Fn([u8; N]) -> T,
        finite: impl Fn(&T) -> bool,
    ) -> Result<Tensor, CheckpointError> {
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0u8; (end - start).min(READ_BYTES)];
        let mut values: Vec<T> = Vec::with_capacity((end - start) / N);
        let mut source = open_file(&self.path)?;
        source.seek(SeekFrom::Start(self.data + start as u64)).map_err(CheckpointError::io(&self.path))?;
        let mut left = end - start;
        while left > 0 {
            let chunk = left.min(READ_BYTES);
            source.read_exact(&mut bytes[..chunk]).map_err(CheckpointError::io(&self.path))?;
            values.extend(bytes[..chunk].as_chunks::<N>().0.iter().map(|bytes| of_bytes(*bytes)));
            left -= chunk;
        }
        if let Some(index) = values.iter().position(|value| !finite(value)) {
            let value = values[index];
            let reason = format!(
                "has the value {value} at element {index}; the checkpoint is damaged, or training diverged"
            );
            return Err(CheckpointError::tensor(&self.path, name, reason));
        }
        let count = values.len();
        Ok(Tensor::from_vec(values, count, &Device::Cpu)?)
    }

    fn open(path: &Path) -> Result<Self, CheckpointError> {
        let mut file = open_file(path)?;
        let size = file.metadata().map_err(CheckpointError::io(path))?.len();
        let mut length = [0u8; 8];
        let short = |_| CheckpointError::file(path, "is too short for a safetensors file; download it again");
        file.read_exact(&mut length).map_err(short)?;
        let length = u64::from_le_bytes(length);
        if length > MAX_HEADER_BYTES {
            let what = "the size of its header in bytes".into();
            return Err(CheckpointError::TooLarge {
                path: path.into(),
                what,
                found: length,
                cap: MAX_HEADER_BYTES,
            });
        }
        if length > size.saturating_sub(8) {
            return Err(CheckpointError::file(
                path,
                format!("announces a header of {length} bytes and has {size}; download it again"),
            ));
        }
        let mut header = vec![0u8; length as usize];
        file.read_exact(&mut header).map_err(CheckpointError::io(path))?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| {
            CheckpointError::file(path, format!("has a header that is not of a safetensors file: {error}"))
        })?;
        let expected = (header.data_len() as u64).checked_add(8 + length);
        if expected != Some(size) {
            let announced = expected.map_or("more than there can be".into(), |bytes| bytes.to_string());
            return Err(CheckpointError::file(
                path,
                format!("has {size} bytes, its header announces {announced}; download it again"),
            ));
        }
        Ok(Self { path: path.into(), header, data: 8 + length })
    }
}

/// The shards of an index, with the tensors that it lists for each.
fn shards(index: &Path) -> Result<BTreeMap<String, BTreeSet<String>>, CheckpointError> {
    let settings = Settings::open(index)?;
    let map = settings.object("weight_map")?.ok_or_else(|| settings.wrong("weight_map", "is missing"))?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, shard) in map.entries() {
        let Value::String(shard) = shard else { return Err(map.wrong(name, "must be the name of a file")) };
        let mut parts = Path::new(shard).components();
        let plain = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
        if !plain || shard.contains(['/', '\\', '\0']) || !shard.ends_with(".safetensors") {
            return Err(
                map.wrong(name, format!("is {shard:?}; a shard is a .safetensors file in the same folder"))
            );
        }
        shards.entry(shard.clone()).or_default().insert(name.clone());
    }
    if shards.is_empty() {
        return Err(settings.wrong("weight_map", "names no shard"));
    }
    if shards.len() > MAX_SHARDS {
        return Err(CheckpointError::TooLarge {
            path: index.into(),
            what: "its number of shards".into(),
            found: shards.len() as u64,
            cap: MAX_SHARDS as u64,
        });
    }
    Ok(shards)
}

/// A file that ends early once the rest is unwanted.
struct Wanted<'a> {
    file: File,
    unwanted: &'a AtomicBool,
}

impl Read for Wanted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.unwanted.load(Ordering::Relaxed) { Ok(0) } else { self.file.read(buffer) }
    }
}

/// A hash over files, by names and contents, read in pieces; invalid if it became `unwanted` meanwhile.
pub(super) fn fingerprint<'a>(
    paths: impl Iterator<Item = &'a Path>,
    unwanted: &AtomicBool,
) -> Result<String, CheckpointError> {
    let mut digests = Vec::new();
    for path in paths {
        let file = open_file(path)?;
        let wanted = Wanted { file, unwanted };
        let (digest, _) = HashingReader::new(wanted).finish().map_err(CheckpointError::io(path))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        digests.push(format!("{name} {} {}\n", digest.size, digest.hash));
    }
    Ok(goldfish_digest::FileDigest::of(digests.concat().as_bytes()).hash)
}

//! Rows of a table by index, with the table's gradient.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, bail};

use crate::ml::layers::gradients::accumulate;
use crate::ml::layers::storage::{read, slice};

/// Row `indexes[i]` of `table` `[words, size]` at position i: `[indexes, size]`.
pub fn embedding(table: &Tensor, indexes: &[u32]) -> Result<Tensor> {
    if table.device().is_cpu() {
        return table.apply_op1(EmbeddingOp { indexes: indexes.to_vec() });
    }
    table.index_select(&Tensor::new(indexes, table.device())?, 0)
}

struct EmbeddingOp {
    indexes: Vec<u32>,
}

impl CustomOp1 for EmbeddingOp {
    fn name(&self) -> &'static str {
        "embedding"
    }

    fn cpu_fwd(&self, table: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (words, size) = layout.shape().dims2()?;
        let table = slice(table, layout)?;
        let mut rows = Vec::with_capacity(self.indexes.len() * size);
        for &index in &self.indexes {
            let index = index as usize;
            if index >= words {
                bail!("embedding: index {index} of {words} words");
            }
            rows.extend_from_slice(&table[index * size..(index + 1) * size]);
        }
        Ok((CpuStorage::F32(rows), Shape::from((self.indexes.len(), size))))
    }

    fn bwd(&self, table: &Tensor, _result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let size = table.dims2()?.1;
        accumulate(table, |dtable| {
            read(gradient, |g| {
                for (row, &index) in g.chunks_exact(size).zip(&self.indexes) {
                    let start = index as usize * size;
                    dtable[start..start + size].iter_mut().zip(row).for_each(|(d, g)| *d += g);
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ml::layers::gradcheck::{check, variable};

    #[test]
    fn gradient_matches_central_differences_with_repeated_indexes() {
        let table = variable(&[5, 3], 1);
        check(&[&table], || embedding(&table, &[4, 0, 4, 2]));
    }

    #[test]
    fn an_index_outside_the_table_is_an_error() {
        assert!(embedding(&variable(&[5, 3], 1), &[5]).is_err());
    }
}

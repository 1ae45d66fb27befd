//! Windows gathered for one forward pass.

/// Features and targets of some windows, row after row; what each slice holds is written beside it.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct WindowBatch {
    /// Windows.
    pub len: usize,
    /// Scaled target before the origin, missing as 0: `[len, context]`.
    pub values: Vec<f32>,
    /// 1 where the target before the origin is there: `[len, context]`.
    pub observed: Vec<f32>,
    /// Covariates before the origin: `[len, context, context_row]`.
    pub context: Vec<f32>,
    /// Features of the steps: `[len, horizon, future_row]`.
    pub future: Vec<f32>,
    /// Indexes of known categories, steps before and after the origin: one `[len, context + horizon]` a column.
    pub known_categories: Vec<Vec<u32>>,
    /// Statistics of the history and numeric static covariates: `[len, window_row]`.
    pub window: Vec<f32>,
    /// Indexes of static categories: one `[len]` a column.
    pub static_categories: Vec<Vec<u32>>,
    /// Index of the series, 0 for unknown ones: `[len]`.
    pub series: Vec<u32>,
    /// What matched history suggests for the steps, scaled: `[len, horizon]`.
    pub base: Vec<f32>,
    /// Scaled target of the steps: `[len, horizon]`.
    pub target: Vec<f32>,
    /// 1 where the step counts in the loss: `[len, horizon]`.
    pub weight: Vec<f32>,
    /// False where a switch says that the target is zero: `[len, horizon]`.
    pub active: Vec<bool>,
    /// What scaled values are relative to: `[len]`.
    pub center: Vec<f64>,
    /// What scaled values are divided by: `[len]`.
    pub scale: Vec<f64>,
}

impl WindowBatch {
    /// Forgets the windows and keeps the memory.
    pub fn clear(&mut self, known_categories: usize, static_categories: usize) {
        self.len = 0;
        for buffer in [
            &mut self.values,
            &mut self.observed,
            &mut self.context,
            &mut self.future,
            &mut self.window,
            &mut self.base,
            &mut self.target,
            &mut self.weight,
        ] {
            buffer.clear();
        }
        self.known_categories.resize_with(known_categories, Vec::new);
        self.static_categories.resize_with(static_categories, Vec::new);
        self.known_categories.iter_mut().chain(&mut self.static_categories).for_each(Vec::clear);
        self.series.clear();
        self.active.clear();
        self.center.clear();
        self.scale.clear();
    }
}

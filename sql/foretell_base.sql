-- What made foretell_base, the network in src/ml/foundation/base.safetensors:
--
--   foretell run sql/foretell_base.sql --database base
--   cp base/models/*/1/weights.safetensors src/ml/foundation/base.safetensors
--
-- It learns from made-up series alone (src/ml/synthetic), 197 million tokens of 16 steps; nothing of anybody's data is in it.
-- With the feature cuda it took 6 minutes on an H100 with 16 cores beside it; another kind of card rounds otherwise, and gives
-- other last digits. Stopped, the same statement goes on from its last twentieth.
PRETRAIN OR REPLACE FORECAST MODEL base OBJECTIVE next_patch
WITH (steps = 6000, batch_size = 32768, learning_rate = 0.002, device = cuda, seed = 1);

-- What made foretell_base, the network in src/ml/foundation/base.safetensors:
--
--   foretell run sql/foretell_base.sql --database base
--   cp base/models/*/1/weights.safetensors src/ml/foundation/base.safetensors
--
-- It learns from made-up series alone (src/ml/synthetic), 49 million tokens of 16 steps; nothing of anybody's data is in it.
-- On two threads with AVX-512 it took 79 minutes; another kind of processor rounds otherwise, and gives other last digits.
-- Stopped, the same statement goes on from its last twentieth.
PRETRAIN OR REPLACE FORECAST MODEL base OBJECTIVE next_patch WITH (steps = 6000, batch_size = 8192, device = cpu, seed = 1);

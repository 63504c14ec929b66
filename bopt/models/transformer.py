"""A small decoder-only transformer."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Transformer(nn.Module):
    """A decoder-only transformer: the logits of each next token.

    Pre-normalised blocks of causal self-attention and a two-layer perceptron. All
    kernels have rank 2, with those of the embeddings and of the projections of
    attention, so that ``where=2`` selects them.

    Attributes:
      tokens: number of different tokens.
      length: maximum length T of a sequence.
      width: size of the embeddings.
      heads: number of attention heads, a divisor of `width`.
      blocks: number of blocks.

    Call arguments:
      tokens: (B, T) integers.
      train: ignored, as there is no dropout.

    Returns:
      Logits (B, T, tokens).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bopt.models import Transformer
      >>> text, model = jnp.zeros((2, 64), int), Transformer()
      >>> params = jax.eval_shape(model.init, jax.random.key(0), text)
      >>> jax.eval_shape(model.apply, params, text).shape
      (2, 64, 128)

    Source: A. Radford et al., *Language models are unsupervised multitask learners*,
    2019, section 2.3.
    """

    tokens: int = 128
    length: int = 64
    width: int = 64
    heads: int = 4
    blocks: int = 2

    @nn.compact
    def __call__(self, tokens: jax.Array, train: bool = False) -> jax.Array:
        del train
        places = jnp.arange(tokens.shape[1])[None]
        x = nn.Embed(self.tokens, self.width, name="embedding")(tokens)
        x = x + nn.Embed(self.length, self.width, name="positions")(places)
        for _ in range(self.blocks):
            x = x + self._attention(nn.LayerNorm()(x))
            hidden = nn.gelu(nn.Dense(4 * self.width)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.width)(hidden)
        return nn.Dense(self.tokens)(nn.LayerNorm()(x))

    def _attention(self, x: jax.Array) -> jax.Array:
        batch, length, width = x.shape
        split = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = jnp.moveaxis(nn.Dense(3 * width)(x).reshape(split), 2, 0)
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        return nn.Dense(width)(mixed.reshape(x.shape))

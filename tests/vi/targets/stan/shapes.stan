// A parameter of every kind whose numbers Stan puts into an order of its own.
data {
  int<lower=0> N;
  matrix[N, 3] X;
  array[2, 3] int counts;
}
parameters {
  real<lower=0> scale;
  real<lower=-1, upper=2> share;
  simplex[3] p;
  ordered[3] cut;
  cholesky_factor_corr[3] L;
  cov_matrix[2] S;
  matrix[2, 3] m;
  array[2, 3] vector[2] a;
  complex c;
  tuple(real, vector[2]) pair;
}
transformed parameters {
  matrix[N, 2] eta = X * m';
  complex_vector[2] d = [c, c * c]';
}
model {
  scale ~ gamma(2, 3);
  share ~ normal(0.3, 0.8);
  p ~ dirichlet([1.5, 2, 3]');
  cut ~ normal(0, 2);
  L ~ lkj_corr_cholesky(2);
  S ~ inv_wishart(4, [[2, 0.5], [0.5, 1]]);
  to_vector(m) ~ normal(0, 1);
  for (i in 1:2) for (j in 1:3) a[i, j] ~ normal(counts[i, j], scale);
  get_real(c) ~ normal(0, 1);
  get_imag(c) ~ normal(1, 2);
  pair.1 ~ normal(0, 1);
  pair.2 ~ normal(pair.1, 1);
  to_vector(eta) ~ normal(0, 3);
}
generated quantities {
  array[2] matrix[2, 3] moved = {m, 2 * m};
  tuple(real, array[2] real) both = (scale, {share, 2 * share});
}

// What invflow calls in a compiled Stan program. Compiled together with the C++ that stanc makes of
// the program, which defines `stan_model` and is included before this file.
//
// Rows are shared out among threads. Results do not depend on the number of threads.

#include <stan/io/json/json_data.hpp>
#include <stan/model/log_prob_grad.hpp>
#include <stan/services/util/create_rng.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <future>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
/** Work that is worth a thread of its own: starting one takes some hundredths of a millisecond. */
constexpr double kThreadSeconds = 3e-4;

/** A program with its data. */
struct Program {
  Program(stan::io::var_context& data, unsigned int seed) : model(data, seed, nullptr) {
    std::vector<std::string> all, known;
    model.constrained_param_names(all, true, true);
    model.constrained_param_names(known, true, false);
    columns = all.size();
    generates = columns > known.size();
    for (const std::string& name : all) names += name + "\n";
  }

  stan_model model;
  size_t columns;
  bool generates;  // whether it has generated quantities
  std::string names;
};

/** Runs a function, and returns 0; or copies the message of its exception, and returns 1. */
template <typename F>
int guarded(char* message, size_t size, const F& function) {
  try {
    function();
    return 0;
  } catch (const std::exception& error) {
    const std::string what = error.what();
    message[what.copy(message, size - 1)] = '\0';
    return 1;
  }
}

/** Calls a function of a row's index, unless Stan rejects the point. */
template <typename F>
void unless_rejected(size_t i, const F& function) {
  static thread_local stan::math::ChainableStack tape;  // each thread differentiates on its own
  try {
    function(i);
  } catch (const std::domain_error&) {
  }
}

/** Does so for all rows, in as many threads as have work for some tenths of a millisecond. */
template <typename F>
void each_row(size_t rows, size_t threads, const F& function) {
  if (!rows) return;
  const auto start = std::chrono::steady_clock::now();
  unless_rejected(0, function);
  const std::chrono::duration<double> first = std::chrono::steady_clock::now() - start;
  const auto worth = static_cast<size_t>(first.count() * (rows - 1) / kThreadSeconds);

  std::atomic<size_t> next{1};
  const auto work = [&] {
    for (size_t i; (i = next++) < rows;) unless_rejected(i, function);
  };
  std::vector<std::future<void>> others;  // they are waited for, whatever happens
  while (others.size() + 1 < std::min(threads, worth))
    others.push_back(std::async(std::launch::async, work));
  work();
  for (auto& other : others) other.get();
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int invflow_construct(const char* json, Program** program, char* message, size_t size) {
  return guarded(message, size, [&] {
    std::istringstream text(json);
    stan::json::json_data data(text);
    *program = new Program(data, 0);
  });
}

EXPORTED void invflow_destruct(Program* program) { delete program; }

EXPORTED size_t invflow_dim(const Program* program) { return program->model.num_params_r(); }

EXPORTED const char* invflow_names(const Program* program) { return program->names.c_str(); }

/** Log densities with all constants and the Jacobians of constraints, and their gradients. */
EXPORTED int invflow_gradients(const Program* program, size_t rows, const double* z,
                               double* values, double* gradients, size_t threads, char* message,
                               size_t size) {
  const size_t dim = invflow_dim(program);
  return guarded(message, size, [&] {
    std::fill_n(values, rows, kNaN);
    std::fill_n(gradients, rows * dim, 0.0);
    each_row(rows, threads, [&](size_t i) {
      Eigen::VectorXd row = Eigen::Map<const Eigen::VectorXd>(z + i * dim, dim), gradient;
      values[i] = stan::model::log_prob_grad<false, true>(program->model, row, gradient);
      std::copy_n(gradient.data(), dim, gradients + i * dim);
    });
  });
}

/** Parameters, transformed parameters and generated quantities, one row of `columns` for each z. */
EXPORTED int invflow_constrain(const Program* program, size_t rows, const double* z,
                               const unsigned int* seeds, double* out, size_t threads, char* message,
                               size_t size) {
  const size_t dim = invflow_dim(program);
  return guarded(message, size, [&] {
    std::fill_n(out, rows * program->columns, kNaN);
    each_row(rows, threads, [&](size_t i) {
      Eigen::VectorXd row = Eigen::Map<const Eigen::VectorXd>(z + i * dim, dim), values;
      // A seed takes longer the more bits it has.
      auto random = stan::services::util::create_rng(program->generates ? seeds[i] : 0, 0);
      try {
        program->model.write_array(random, row, values, true, program->generates, nullptr);
      } catch (const std::domain_error&) {
        // What was computed before Stan rejected the point is kept.
      }
      std::copy_n(values.data(), values.size(), out + i * program->columns);
    });
  });
}

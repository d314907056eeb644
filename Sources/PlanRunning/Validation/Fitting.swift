// Owns the search for the costs with which the model says what was measured.
//
// The method is that of Levenberg and Marquardt, on the logarithms of costs and of figures: how each figure moves with each cost is
// tried out, and the step is taken that brings all of them nearest. The model draws from one seed, so that two costs are
// compared on the same luck.

import Foundation
package import Planning

package struct Fitting: Sendable {
  private let targets: [FittingTarget]
  private let rounds: Int
  private let stallRates: [Double]

  /// A cost is made so much larger, or smaller, to see what moves.
  private static let probe = 1.25
  private static let firstDamping = 0.03
  /// And changes by no more than this factor in one round.
  private static let longestStep = log(2.0)
  private static let stepsOfRound = 4

  /// - Parameters:
  ///   - rounds: each runs the model once for every target and unknown, some seconds in all.
  ///   - stallRates: how much more often the machine may stall than was seen, for `fitStalls`.
  package init(targets: [FittingTarget], rounds: Int, stallRates: [Double] = [1, 2, 4, 8]) {
    (self.targets, self.rounds, self.stallRates) = (targets, rounds, stallRates)
  }

  /// - Throws: `CancellationError` where its task was cancelled.
  package func fit(_ start: Costs) async throws -> Costs {
    let unknowns = Unknown.all
    var (best, damping) = (start, Self.firstDamping)
    var offs = try await all([best])[0]
    for round in 0..<rounds {
      let probe = round.isMultiple(of: 2) ? Self.probe : 1 / Self.probe
      let probes = unknowns.map { $0.scale(best, by: probe) }
      let tried = try await all(probes)
      let slopes = tried.map { zip($0, offs).map { ($0 - $1) / log(probe) } }
      if let step = try await self.step(from: best, offs, slopes, damping: &damping) {
        (best, offs) = step
      } else if let place = tried.indices.min(by: { Self.cost(tried[$0]) < Self.cost(tried[$1]) }),
        Self.cost(tried[place]) < Self.cost(offs)
      {
        // Where luck bends the slopes so much that no step is better, what was tried out may be.
        (best, offs, damping) = (probes[place], tried[place], Self.firstDamping)
      }
    }
    return best
  }

  /// A step that brings all figures nearer, shorter and shorter ones being tried; nil where none does.
  private func step(
    from costs: Costs, _ offs: [Double], _ slopes: [[Double]], damping: inout Double
  ) async throws -> (Costs, [Double])? {
    for _ in 0..<Self.stepsOfRound {
      let step = Self.step(offs, slopes, damping: damping)
      let next = zip(Unknown.all, step).reduce(costs) { costs, part in
        part.0.scale(costs, by: exp(max(-Self.longestStep, min(Self.longestStep, part.1))))
      }
      let nextOffs = try await all([next])[0]
      if Self.cost(nextOffs) < Self.cost(offs) {
        damping /= 3
        return (next, nextOffs)
      }
      damping *= 4
    }
    return nil
  }

  /// What the tails tell of: the quota of the processors, and then, by the loads that it does not stop, how the machine stalls.
  /// - Throws: `CancellationError` where its task was cancelled.
  package func fitTails(_ costs: Costs) async throws -> Costs { try await fitStalls(try await fitHost(costs)) }

  /// How often and how long the machine stalls: for each of some rates the length with which the model says as many 99ths too high
  /// as too low, and of these the pair that is least off. A thread that looks at the clock sees some of them, but shares its
  /// processor with what stalls it, which others find taken. The 99th of one load is largely luck, and that of all together is not.
  /// - Parameter costs: with the stalls that were seen.
  /// - Throws: `CancellationError` where its task was cancelled.
  package func fitStalls(_ costs: Costs) async throws -> Costs {
    var best: (costs: Costs, off: Double)?
    for factor in stallRates {
      var tried = costs
      tried.stallsPerSecond *= factor
      // No load tells of stalls: they stay as they were seen.
      guard let length = try await stallLength(with: tried) else { return costs }
      tried.stallNanoseconds = length
      let offs = try await tailOffs(tried)
      // The mean: a rate that leaves fewer loads to go by is no better for it.
      let off = offs.reduce(0) { $0 + abs($1) } / Double(max(1, offs.count))
      if off < best?.off ?? .infinity { best = (tried, off) }
    }
    return best?.costs ?? costs
  }

  /// Nil where no load tells of stalls.
  private func stallLength(with costs: Costs) async throws -> Double? {
    var (low, high) = Self.stallFactors
    for _ in 0..<Self.stallSteps {
      let middle = (low * high).squareRoot()
      var tried = costs
      tried.stallNanoseconds *= middle
      guard let off = Medians.median(try await tailOffs(tried)) else { return nil }
      if off < 0 { low = middle } else { high = middle }
    }
    return costs.stallNanoseconds * (low * high).squareRoot()
  }

  private func tailOffs(_ costs: Costs) async throws -> [Double] {
    try await allTails(costs).filter { !$0.isStopped }.map(\.p99)
  }

  /// How much a host works for a flush: of some multiples that with which the tails are least off, where it is the quota of the
  /// processors that makes them (Planning/Model/ProcessorQuota.swift). None is among them, for a machine without a quota; where no load
  /// tells one from another, it stays as it is.
  /// - Throws: `CancellationError` where its task was cancelled.
  package func fitHost(_ costs: Costs) async throws -> Costs {
    guard costs.flushOfHost > 0 else { return costs }
    var best: (costs: Costs, off: Double)?
    for factor in Self.hostFactors {
      var tried = costs
      tried.flushOfHost = min(Unknown.mostOfHost, tried.flushOfHost * factor)
      let tails = try await allTails(tried)
      guard !tails.isEmpty else { return costs }
      // The mean: that a load is used up, and left out, is no merit.
      let off = tails.reduce(0) { $0 + abs($1.p90) + abs($1.p99) } / Double(tails.count)
      if off < best?.off ?? .infinity { best = (tried, off) }
    }
    return best?.costs ?? costs
  }
  private static let hostFactors = [1, 0, 0.35, 0.5, 0.7, 0.85, 1.2, 1.4, 2, 2.8]

  private func allTails(_ costs: Costs) async throws -> [FittingTarget.TailOffs] {
    let targets = targets
    return try await ParallelWork.values(count: targets.count) { targets[$0].tailOffs(with: costs) }.compactMap { $0 }
  }

  private static let stallFactors = (0.25, 16.0)
  private static let stallSteps = 6

  /// How far off all targets are with each of the costs, in the order of the targets.
  private func all(_ costs: [Costs]) async throws -> [[Double]] {
    let targets = targets
    let offs = try await ParallelWork.values(count: costs.count * targets.count) { number in
      targets[number % targets.count].offs(with: costs[number / targets.count])
    }
    return costs.indices.map { place in
      offs[(place * targets.count)..<((place + 1) * targets.count)].flatMap { $0 }
    }
  }

  /// A load that was disturbed is far off whatever the costs are: it counts by its distance, and not by the square of it.
  private static let farOff = 6.0
  private static func length(_ off: Double) -> Double { (1 + off * off / (farOff * farOff)).squareRoot() }
  private static func weight(_ off: Double) -> Double { 1 / length(off) }
  private static func cost(_ offs: [Double]) -> Double { offs.reduce(0) { $0 + length($1) - 1 } }

  /// Solves (SᵀWS + damping) x = −SᵀW offs, by Gauss's elimination with the largest pivot.
  private static func step(_ offs: [Double], _ slopes: [[Double]], damping: Double) -> [Double] {
    let weights = offs.map(weight)
    let count = slopes.count
    func product(_ one: [Double], _ other: [Double]) -> Double {
      weights.indices.reduce(0) { $0 + weights[$1] * one[$1] * other[$1] }
    }
    var rows = slopes.map { one in slopes.map { product(one, $0) } + [-product(one, offs)] }
    // What no figure tells of stays as it is.
    for place in 0..<count { rows[place][place] += damping * rows[place][place] + 0.5 }
    for column in 0..<count {
      let pivot = (column..<count).max { abs(rows[$0][column]) < abs(rows[$1][column]) } ?? column
      rows.swapAt(column, pivot)
      for row in 0..<count where row != column {
        let factor = rows[row][column] / rows[column][column]
        for place in column...count { rows[row][place] -= factor * rows[column][place] }
      }
    }
    return (0..<count).map { rows[$0][count] / rows[$0][$0] }
  }
}

/// Costs that are scaled together.
private struct Unknown: Sendable {
  var fields: [any WritableKeyPath<Costs, Double> & Sendable]
  var most = 1e7

  func scale(_ costs: Costs, by factor: Double) -> Costs {
    var scaled = costs
    for field in fields { scaled[keyPath: field] = min(most, scaled[keyPath: field] * factor) }
    return scaled
  }

  static let mostOfHost = 200_000.0

  static let all: [Unknown] = [
    Unknown(fields: [\.wakeLatency]),
    Unknown(fields: [\.wakeFloor], most: 1), Unknown(fields: [\.wakeWorkAfterRest], most: 1),
    Unknown(fields: [\.wakeWorkWithoutRest], most: 1), Unknown(fields: [\.clientWake]),
    Unknown(fields: [\.dispatcherWake]), Unknown(fields: [\.eventLoopWake]), Unknown(fields: [\.requestWake]),
    Unknown(fields: [\.loopWake]), Unknown(fields: [\.turn]), Unknown(fields: [\.applyTurn]),
    Unknown(fields: [\.writerWake]), Unknown(fields: [\.group]), Unknown(fields: [\.flushEnd]),
    Unknown(fields: [\.clientSend, \.clientReceive]), Unknown(fields: [\.requestIn, \.answerOut]),
    Unknown(fields: [\.proposal, \.apply, \.read]), Unknown(fields: [\.groupEntry, \.settleEntry]),
    Unknown(fields: [\.messageOut, \.messageIn]), Unknown(fields: [\.entryOnWire]), Unknown(fields: [\.relay]),
    Unknown(fields: [\.relayWake]), Unknown(fields: [\.uncounted], most: 1), Unknown(fields: [\.leftInLine], most: 1),
    Unknown(fields: [\.wakeWorkBefore], most: 1), Unknown(fields: [\.coldWorkBefore], most: 1),
    Unknown(fields: [\.coldWakeLatency]), Unknown(fields: [\.flushOfHost], most: mostOfHost),
  ]
}

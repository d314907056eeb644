// Owns the way from a measured profile of a disk to what the model draws flushes from.

package import DiskProbe
import FoundationEssentials
package import Planning

package enum DiskProfiles {
  /// Where nothing is measured or given: a local disk with flash, as etcd's guide takes for granted.
  package static let assumed = PlannedDisk(
    model: DiskModel(
      tight: Quantiles(cells: [(800, 50), (1000, 300), (1500, 100), (2500, 40), (5000, 9), (10_000, 1)])!),
    source: "assumed, 1 ms at p50 and 5 ms at p99 (give --disk with what `portcullis fsync DIR --output json` wrote)")

  /// - Throws: `PlanError` where the file has nothing that a plan can use.
  package static func read(_ path: String) throws(PlanError) -> PlannedDisk {
    let text: String
    do {
      text = try String(contentsOfFile: path, encoding: .utf8)
    } catch {
      throw PlanError("\(path) cannot be read; make it with `portcullis fsync DIR --output json > \(path)`")
    }
    let profile: FlushProfile
    do {
      profile = try FlushProfile(json: text)
    } catch {
      throw PlanError("\(path): \(error); make one with `portcullis fsync DIR --output json > \(path)`")
    }
    return try disk(of: profile, named: path)
  }

  package static func disk(of profile: FlushProfile, named name: String) throws(PlanError) -> PlannedDisk {
    let model = try model(of: profile.series, named: name)
    return PlannedDisk(
      model: model,
      source:
        "\(name), measured \(profile.startedAt) below \(profile.disk.directory), verdict \(profile.verdict.grade.rawValue)"
    )
  }

  package static func model(of series: [FlushSeries], named name: String) throws(PlanError) -> DiskModel {
    try model(ofRounds: [series], named: name)
  }

  /// The log's own cells where they were measured, files of 2300 bytes otherwise.
  /// - Parameter rounds: each with the same cells in the same order.
  package static func model(ofRounds rounds: [[FlushSeries]], named name: String) throws(PlanError) -> DiskModel {
    let usable = flushes(in: rounds, ofCommits: 100)
    let logs = usable.filter { $0.cell.subject == .log }
    let own = logs.isEmpty ? usable.filter { $0.cell.layout == .prepared } : logs
    let least = own.map(\.bytes).min() ?? 0
    let small = own.filter { $0.bytes == least }
    guard let tight = small.first(where: { $0.cell.writers == 1 && $0.cell.intervalMicroseconds == 0 }) ?? small.first
    else {
      throw PlanError(
        "\(name) has no series with a hundred flushes or more; measure without choices: `portcullis fsync DIR --output json`"
      )
    }
    var model = DiskModel(tight: tight.quantiles)
    model.measuredBytes = least
    for paced in small where paced.cell.writers == 1 && paced.cell.intervalMicroseconds > 0 {
      model.add(paced.quantiles, afterRestOf: paced.restNanoseconds)
    }
    // Several writers are measured on files when not on the log; what they add is much the same.
    let several =
      small.first { $0.cell.writers > 1 && $0.cell.intervalMicroseconds == 0 }
      ?? usable.first { $0.cell.writers > 1 && $0.cell.layout == .prepared && $0.cell.intervalMicroseconds == 0 }
    if let several { model.contended = (several.quantiles, several.cell.writers) }
    // Only a median counts here, for which fewer are enough.
    model.nanosecondsPerByte = nanosecondsPerByte(of: flushes(in: rounds, ofCommits: 30), beyond: tight)
    return model
  }

  /// A kind of flushes, and what all rounds say of it.
  private struct Flushes {
    var cell: FlushCell
    var quantiles: Quantiles
    /// From one flush to the next.
    var restNanoseconds: Double

    var bytes: Int { cell.bytes * cell.records }
  }

  /// - Parameter fewest: without as many commits a round says nothing of the cell.
  private static func flushes(in rounds: [[FlushSeries]], ofCommits fewest: UInt64) -> [Flushes] {
    (rounds.first ?? []).indices.compactMap { place in
      let all = rounds.compactMap { place < $0.count ? $0[place] : nil }.filter {
        $0.cell.method == .fdatasync && $0.cell.processors == .idle && $0.commit.count >= fewest
      }
      guard let cell = all.first?.cell, let quantiles = Quantiles.median(of: all.compactMap(\.quantiles)),
        let rest = Medians.median(all.map(\.restNanoseconds))
      else { return nil }
      return Flushes(cell: cell, quantiles: quantiles, restNanoseconds: rest)
    }
  }

  /// From the largest flush that differs in nothing else.
  private static func nanosecondsPerByte(of all: [Flushes], beyond small: Flushes) -> Double {
    let larger = all.filter { one in
      var cell = one.cell
      (cell.bytes, cell.records) = (small.cell.bytes, small.cell.records)
      return cell == small.cell && one.bytes > small.bytes
    }
    guard let largest = larger.max(by: { $0.bytes < $1.bytes }) else { return 0 }
    let more = largest.quantiles.value(at: 0.5) - small.quantiles.value(at: 0.5)
    return max(0, more / Double(largest.bytes - small.bytes))
  }
}

extension FlushSeries {
  fileprivate var quantiles: Quantiles? {
    Quantiles(cells: commit.cells.map { ($0.microseconds, $0.count) })
  }

  /// From one commit to the next: a commit that is longer than the interval is followed by half of it.
  fileprivate var restNanoseconds: Double {
    let interval = Double(cell.intervalMicroseconds) * 1000
    return max(interval / 2, interval - Double(commit.percentile(50) ?? 0))
  }
}

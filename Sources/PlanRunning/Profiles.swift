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

  /// The log's own cells where they were measured, files of 2300 bytes otherwise.
  package static func model(of series: [FlushSeries], named name: String) throws(PlanError) -> DiskModel {
    let flushed = series.filter { $0.cell.method == .fdatasync && $0.cell.processors == .idle }
    let usable = flushed.filter { $0.commit.count >= 100 }
    let logs = usable.filter { $0.cell.subject == .log }
    let own = logs.isEmpty ? usable.filter { $0.cell.layout == .prepared } : logs
    let least = own.map { $0.cell.bytes * $0.cell.records }.min() ?? 0
    let small = own.filter { $0.cell.bytes * $0.cell.records == least }
    guard let tight = small.first(where: { $0.cell.writers == 1 && $0.cell.intervalMicroseconds == 0 }) ?? small.first,
      let quantiles = tight.quantiles
    else {
      throw PlanError(
        "\(name) has no series with a hundred flushes or more; measure without choices: `portcullis fsync DIR --output json`"
      )
    }
    var model = DiskModel(tight: quantiles)
    model.measuredBytes = least
    for paced in small where paced.cell.writers == 1 && paced.cell.intervalMicroseconds > 0 {
      if let quantiles = paced.quantiles { model.add(quantiles, afterRestOf: paced.restNanoseconds) }
    }
    // Several writers are measured on files when not on the log; what they add is much the same.
    let several =
      small.first { $0.cell.writers > 1 && $0.cell.intervalMicroseconds == 0 }
      ?? usable.first { $0.cell.writers > 1 && $0.cell.layout == .prepared && $0.cell.intervalMicroseconds == 0 }
    if let several, let quantiles = several.quantiles { model.contended = (quantiles, several.cell.writers) }
    model.nanosecondsPerByte = nanosecondsPerByte(of: flushed, beyond: tight.cell, quantiles)
    return model
  }

  /// From the largest flush that differs in nothing else. Only its median counts, for which fewer are enough.
  private static func nanosecondsPerByte(
    of series: [FlushSeries], beyond small: FlushCell, _ quantiles: Quantiles
  ) -> Double {
    func bytes(_ cell: FlushCell) -> Int { cell.bytes * cell.records }
    let larger = series.filter { one in
      var cell = one.cell
      (cell.bytes, cell.records) = (small.bytes, small.records)
      return cell == small && one.commit.count >= 30 && bytes(one.cell) > bytes(small)
    }
    guard let largest = larger.max(by: { bytes($0.cell) < bytes($1.cell) }), let more = largest.quantiles else {
      return 0
    }
    return max(0, (more.value(at: 0.5) - quantiles.value(at: 0.5)) / Double(bytes(largest.cell) - bytes(small)))
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

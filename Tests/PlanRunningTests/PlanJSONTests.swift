// The form that other programs read, and the way from a disk's profile to the model.

import DiskProbe
import Foundation
import PlanRunning
import Planning
import Testing

@Suite("plans as JSON")
struct PlanJSONTests {
  /// The names of all fields, with dots between levels.
  private func names(_ value: Any, _ prefix: String = "") -> Set<String> {
    if let map = value as? [String: Any] {
      return map.reduce(into: []) { $0.formUnion(names($1.value, prefix.isEmpty ? $1.key : "\(prefix).\($1.key)")) }
    }
    if let list = value as? [Any] { return list.reduce(into: []) { $0.formUnion(names($1, prefix + "[]")) } }
    return [prefix]
  }

  private static let plan = Result {
    var need = Need()
    (need.puts, need.keysPerDay) = (100, 1000)
    return try Plan(for: need, disk: DiskProfiles.assumed, costs: Costs())
  }

  @Test("the schema has the fields that docs/capacity-planning.md lists, and no others")
  func schema() throws {
    let text = try Self.plan.get().json()
    let fields = names(try JSONSerialization.jsonObject(with: Data(text.utf8))).filter { !$0.hasPrefix("costs.") }
    #expect(text.contains("\"schema\" : \"portcullis.plan/1\""))
    #expect(fields.sorted() == Self.fields)
  }

  private static let fields = [
    "commands_per_flush", "disk_share", "disk_source", "footprint.days_to_quota", "footprint.disk_bytes",
    "footprint.lines[].formula", "footprint.lines[].name", "footprint.lines[].text", "footprint.lines[].value",
    "footprint.memory_bytes", "guide.clients", "guide.concurrent_iops", "guide.data_bytes",
    "guide.disk_megabytes_per_second", "guide.memory_gigabytes", "guide.name", "guide.operations_per_second",
    "guide.processors", "highest.binding", "highest.per_second", "improvements[]", "latencies[].operation",
    "latencies[].p50_nanoseconds", "latencies[].p999_nanoseconds", "latencies[].p99_nanoseconds",
    "latencies[].per_second", "leader", "machine.disk_gigabytes", "machine.flushes_per_second",
    "machine.memory_gigabytes", "machine.network_megabits_per_second", "machine.processors", "nodes",
    "objective.latency_nanoseconds", "objective.percentile", "offered_per_second", "operating_per_second",
    "processor_share", "schema", "sensitivities[].change", "sensitivities[].highest_per_second",
    "sensitivities[].p50_nanoseconds", "sensitivities[].p99_nanoseconds", "stopped_share",
    "timers.election_milliseconds",
    "timers.heartbeat_milliseconds", "timers.is_planned_enough", "timers.margin", "timers.reason", "verdict",
  ]

  @Test("the same need gives the same bytes")
  func same() throws {
    var need = Need()
    (need.puts, need.keysPerDay) = (100, 1000)
    let again = try Plan(for: need, disk: DiskProfiles.assumed, costs: Costs())
    #expect(try again.json() == Self.plan.get().json())
  }

  @Test("costs are read out of what was written")
  func costs() throws {
    let path = NSTemporaryDirectory() + "/portcullis-costs-\(ProcessInfo.processInfo.processIdentifier).json"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var costs = Costs()
    costs.apply = 12_345
    try PlanJSON.text(["costs": costs]).write(toFile: path, atomically: true, encoding: .utf8)
    #expect(try PlanJSON.costs(at: path) == costs)
    try "{}".write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: PlanError.self) { try PlanJSON.costs(at: path) }
    let older = try PlanJSON.text(["costs": costs]).replacing(#/"flush_of_host" : [0-9.]+,/#, with: "")
    try older.write(toFile: path, atomically: true, encoding: .utf8)
    let complaint = #expect(throws: PlanError.self) { try PlanJSON.costs(at: path) }
    #expect(complaint.map { "\($0)" }?.contains("`flush_of_host`") == true, "\(String(describing: complaint))")
  }

  private func series(_ cell: FlushCell, _ microseconds: UInt64, count: Int = 200) -> FlushSeries {
    FlushSeries(
      cell: cell, commit: FlushDistribution(nanoseconds: Array(repeating: microseconds * 1000, count: count)),
      flush: nil, elapsedNanoseconds: 1_000_000_000)
  }

  @Test("a profile's cells of the log are taken before those of files, each for what it is about")
  func profile() throws {
    let disk = try DiskProfiles.model(
      of: [
        series(.file(bytes: 2300), 9000), series(.log(records: 1), 100),
        series(.log(records: 1, intervalMicroseconds: 2000), 160),
        series(.log(records: 1, intervalMicroseconds: 600), 400),
        series(.log(records: 64), 226), series(.log(records: 1, writers: 3), 300),
      ], named: "it")
    #expect(disk.tight.value(at: 0.5) == 100_000 && disk.atRest.value(at: 0.5) == 160_000)
    // A commit that takes most of its interval is followed by half of it.
    #expect(disk.rested.map(\.restNanoseconds) == [300_000, 1_840_000])
    #expect(disk.contended?.writers == 3 && disk.contended?.quantiles.value(at: 0.5) == 300_000)
    #expect(abs(disk.nanosecondsPerByte - 126_000 / (63 * 256)) < 1e-9 && disk.measuredBytes == 256)
  }

  @Test("what bytes cost is of the largest flush that has enough for a median, and differs in nothing else")
  func bytesCost() throws {
    func cost(_ further: FlushSeries...) throws -> Double {
      try DiskProfiles.model(
        of: [series(.log(records: 1), 100), series(.log(records: 64), 226)] + further, named: "it"
      )
      .nanosecondsPerByte
    }
    let byLargest = try cost(series(.log(records: 1024), 939, count: 40))
    #expect(abs(byLargest - 839_000 / (1023 * 256)) < 1e-9)
    let byOther = 126_000.0 / (63 * 256)
    #expect(abs(try cost(series(.log(records: 1024), 939, count: 20)) - byOther) < 1e-9)
    #expect(abs(try cost(series(.log(records: 1024, writers: 3), 939)) - byOther) < 1e-9)
    #expect(abs(try cost(series(.file(bytes: 1 << 20), 939)) - byOther) < 1e-9)
  }

  @Test("of several rounds the middle counts at each quantile, and a round with too few flushes not at all")
  func rounds() throws {
    func round(_ microseconds: UInt64, tail: UInt64, longest: UInt64, of count: Int = 200) -> [FlushSeries] {
      let all = Array(repeating: microseconds, count: count / 2) + Array(repeating: tail, count: count / 2)
      var series = series(.log(records: 1), microseconds, count: count)
      series.commit = FlushDistribution(nanoseconds: all.map { $0 * 1000 })
      return [series, self.series(.log(records: 1, intervalMicroseconds: 2000), longest)]
    }
    let disk = try DiskProfiles.model(
      ofRounds: [
        round(100, tail: 900, longest: 400), round(110, tail: 500, longest: 300),
        round(5000, tail: 5000, longest: 5000),
        round(90, tail: 400, longest: 350), round(120, tail: 600, longest: 300),
        round(9, tail: 9, longest: 350, of: 20),
        round(9, tail: 9, longest: 350, of: 20),
      ], named: "it")
    #expect(disk.tight.value(at: 0.25) == 110_000 && disk.tight.value(at: 0.75) == 600_000)
    #expect(disk.atRest.value(at: 0.5) == 350_000 && disk.rested.map(\.restNanoseconds) == [1_650_000])
  }

  @Test("a profile with nothing to draw from is refused")
  func emptyProfile() {
    #expect(throws: PlanError.self) {
      try DiskProfiles.model(of: [series(.file(bytes: 1, method: .none), 3)], named: "it")
    }
  }
}

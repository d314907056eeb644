// The whole answer: what is refused, what the formulas say, how it reads.

import Measurement
import Planning
import Testing

@Suite("plans")
struct PlanTests {
  private static let disk = PlannedDisk(
    model: DiskModel(tight: Quantiles(constantNanoseconds: 1e6)), source: "a disk of 1 ms")

  private func need(_ change: (inout Need) -> Void = { _ in }) -> Need {
    var need = Need()
    need.puts = 200
    change(&need)
    return need
  }

  private typealias Change = @Sendable (inout Need) -> Void

  private static let absurd: [(change: Change, part: String)] = [
    ({ $0.nodes = 0 }, "1 to 9"), ({ $0.nodes = 11 }, "1 to 9"), ({ $0.processors = 0 }, "1 to 1024"),
    ({ $0.keyBytes = 0 }, "1 byte to 32 KiB"), ({ $0.valueBytes = 4 << 20 }, "1.5 MiB"),
    ({ $0.heartbeatMilliseconds = 500 }, "five heartbeats"), ({ $0.puts = -1 }, "from 0 on"),
    ({ $0.puts = .nan }, "from 0 on"), ({ $0.puts = 0 }, "at least one of puts"), ({ $0.puts = 1e7 }, "split the keys"),
    ({ $0.roundTrip = 1.5 }, "--election-timeout"), ({ $0.quotaBytes = 1e6 }, "raise --quota"),
    ({ $0.versionsKept = 0 }, "one version at least"), ({ $0.watchersPerWrite = 5 }, "than there are"),
    ({ $0.keys = .infinity }, "from 0 on"),
  ]

  @Test("what makes no sense is refused, with what to do")
  func refused() {
    for (change, part) in Self.absurd { expectRefusal(need(change), part) }
  }

  @Test("sites must be named for each node, with every round trip between them")
  func sites() {
    expectRefusal(need { $0.sites = ["a", "b"] }, "name the site of each node")
    expectRefusal(need { $0.sites = ["a", "a", "b"] }, "add a-b")
    expectRefusal(
      need {
        $0.sites = ["a", "a", "b"]
        $0.siteRoundTrips = ["a-c": 1]
      }, "sites that nodes are at")
  }

  private func expectRefusal(_ need: Need, _ part: String) {
    do {
      _ = try Plan(for: need, disk: Self.disk, costs: Costs())
      Issue.record("planned")
    } catch {
      #expect(error.description.contains(part), "\(error)")
    }
  }

  @Test("a small need is met, and the text says so first and in few lines")
  func text() throws {
    let plan = try Plan(for: need(), disk: Self.disk, costs: Costs())
    let lines = plan.text.split(separator: "\n")
    #expect(plan.isMet)
    #expect(lines[0] == "MEETS the objective: 200 operations/s on 3 nodes, p99 within 20.00 ms")
    #expect(lines.count <= 25)
    for part in ["put ", "highest rate", "timers", "memory, each node", "etcd's guide", "medium", "to do"] {
      #expect(plan.text.contains(part == "medium" ? "medium: 4 vCPU" : part), "\(part)")
    }
  }

  @Test("an objective shorter than a flush is missed, and a load beyond the processors overloads")
  func missed() throws {
    let strict = need { $0.objective = LoadObjective(percentile: 99, latencyNanoseconds: 500_000) }
    let plan = try Plan(for: strict, disk: Self.disk, costs: Costs())
    #expect(plan.verdict == .misses && plan.highest == nil)
    #expect(plan.text.contains("none holds"))
    let heavy = need {
      $0.puts = 100_000
      $0.processors = 1
    }
    #expect(try Plan(for: heavy, disk: Self.disk, costs: Costs()).verdict == .overloaded)
  }

  @Test("even nodes and far sites are doubted")
  func doubts() throws {
    let even = try Plan(for: need { $0.nodes = 4 }, disk: Self.disk, costs: Costs())
    #expect(even.warnings.contains { $0.contains("take an odd number") })
    let far = need {
      $0.sites = ["a", "a", "b"]
      $0.siteRoundTrips = ["a-b": 0.4]
      $0.objective.latencyNanoseconds = 2_000_000_000
      $0.puts = 20
    }
    let plan = try Plan(for: far, disk: Self.disk, costs: Costs())
    #expect(plan.worstLeader?.leader == "b" && !plan.timers.isPlannedEnough)
    #expect(plan.timers.electionMilliseconds >= 4000)
    #expect(plan.improvements.contains { $0.contains("--election-timeout \(plan.timers.electionMilliseconds)") })
  }

  @Test("memory, disk and days to the quota are what their formulas give")
  func footprint() {
    let big = need {
      ($0.keys, $0.keyBytes, $0.valueBytes, $0.versionsKept) = (1_000_000, 40, 960, 3)
      ($0.leases, $0.watchers, $0.keysPerDay, $0.quotaBytes) = (1000, 3000, 10_000, 8e9)
    }
    let by = FootprintCoefficients.measured
    let footprint = Footprint(of: big)
    let memory =
      by.emptyNode + by.cachedLog + 1e6 * (1000 + by.key) + 2e6 * (960 + by.version) + 1000 * by.lease + 1000
      * by.watcher
    #expect(abs(footprint.memoryBytes - memory) < 1)
    let stored = 3e6 * (1000 + by.storePerVersion)
    #expect(footprint.lines.first { $0.name.hasPrefix("store") }?.value == stored)
    #expect(abs((footprint.daysToQuota ?? 0) - (8e9 - stored) / (10_000 * 3 * (1000 + by.storePerVersion))) < 1e-6)
    for line in footprint.lines { #expect(!line.formula.isEmpty && !line.text.isEmpty) }
  }

  @Test("etcd's rows are taken by clients, rate and data, whichever asks for more")
  func guide() {
    #expect(GuideRow.row(for: need { $0.puts = 100 }).name == "small")
    #expect(GuideRow.row(for: need { $0.clients = 400 }).name == "medium")
    #expect(GuideRow.row(for: need { $0.keys = 3_000_000 }).name == "large")
    #expect(GuideRow.row(for: need { $0.gets = 50_000 }).name == "xlarge")
  }

  @Test(
    "figures are written as a person would",
    arguments: [
      (Words.count(1_234_567), "1,234,567"), (Words.count(0.5), "0.50"), (Words.time(950.0), "1 µs"),
      (Words.time(1_500_000.0), "1.50 ms"), (Words.time(2.5e9), "2.5 s"), (Words.bytes(1536), "1.5 KiB"),
      (Words.bytes(500), "500 B"), (Words.span(7200), "2 h"), (Words.percent(0.155), "16 %"),
    ])
  func words(written: String, expected: String) { #expect(written == expected) }
}

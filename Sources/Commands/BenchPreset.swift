// The loads that have a name: files of a run (RunFile.swift) that are kept in the program.

/// A load with a name.
package struct BenchPreset: Sendable {
  package let name: String
  /// What it stands for, in one line.
  package let summary: String
  /// The settings, after the summary as a comment.
  package let text: String

  private init(_ name: String, _ summary: String, _ settings: String) {
    self.name = name
    self.summary = summary
    text = "# \(summary)\n\(settings)\n"
  }

  package static func named(_ name: String) throws(CommandFailure) -> BenchPreset {
    guard let preset = all.first(where: { $0.name == name }) else {
      throw CommandFailure(
        ExitCode.usage,
        Spelling.advice("there is no preset \(name)", for: name, among: all.map(\.name), prefix: "")
          + " (portcullis bench presets lists them)")
    }
    return preset
  }

  package static let all: [BenchPreset] = [
    BenchPreset(
      "etcd-small",
      "The first row of etcd's own page on performance: one client puts 256 bytes under 10,000 keys of 8.",
      """
      scenario: put
      clients: 1
      connections: 1
      key-prefix: pb/
      key-size: 8
      key-count: 10000
      value-size: 256
      duration: 30s
      """),
    BenchPreset(
      "etcd-large", "The row below it: a thousand clients over 100 connections, 100,000 keys.",
      """
      scenario: put
      clients: 1000
      connections: 100
      key-prefix: pb/
      key-size: 8
      key-count: 100000
      value-size: 256
      duration: 30s
      """),
    BenchPreset(
      "kubernetes", "What an apiserver asks: objects of 2 KiB, read and listed by pages of 500, replaced if unchanged.",
      """
      scenario: mix
      # Nodes and leaders renew their Lease objects by compare-and-swap: most writes are these.
      weights: {get: 55, list: 5, cas: 38, put: 2}
      list-limit: 500
      rate: 300
      connections: 8
      key-size: 64
      key-count: 5000
      value-size: 2048
      duration: 60s
      """),
    BenchPreset(
      "kubernetes-watch",
      "Its other half: 200 watches on one prefix, and objects of 2 KiB that change 40 times a second.",
      """
      scenario: watch
      watchers: 200
      rate: 40
      connections: 8
      value-size: 2048
      duration: 60s
      """),
    BenchPreset(
      "service-discovery", "Many look up and few register: reads that may be behind, entries of 512 bytes.",
      """
      scenario: mix
      weights: {get-serializable: 90, get: 5, put: 5}
      rate: 3000
      connections: 16
      key-count: 2000
      value-size: 512
      duration: 60s
      """),
    BenchPreset(
      "heartbeats", "Who is registered keeps being so: 5,000 leases of 30 s, each renewed about every 10 s.",
      """
      scenario: renew
      leases: 5000
      ttl: 30
      rate: 500
      connections: 16
      duration: 60s
      """),
    BenchPreset(
      "locks", "Jobs that take turns: a hundred clients hand ten locks from one to the next.",
      """
      scenario: lock
      clients: 100
      locks: 10
      connections: 10
      duration: 30s
      """),
    BenchPreset(
      "fenced-sqlite",
      "A fenced database: rows of 200 bytes under a token, and one write in a hundred with a stale one.",
      """
      scenario: write
      database: bench
      stale-share: 0.01
      rate: 500
      connections: 32
      value-size: 200
      duration: 60s
      """),
  ]
}

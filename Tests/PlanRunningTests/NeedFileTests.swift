// What a need may be written as, and what is said of one that may not.

import Measurement
import PlanRunning
import Planning
import Testing

@Suite("needs in files")
struct NeedFileTests {
  @Test("the example of the help is read field by field")
  func example() throws {
    let need = try NeedFile.need(from: NeedFile.example)
    #expect(need.puts == 2000 && need.gets == 5000 && need.transactions == 100 && need.renewals == 50)
    #expect(need.keyBytes == 40 && need.valueBytes == 1024 && need.keys == 200_000 && need.versionsKept == 2)
    #expect(need.nodes == 3 && need.sites == ["fra", "fra", "ams"])
    #expect(abs(need.roundTrip(from: 0, to: 1) - 300e-6) < 1e-12 && abs(need.roundTrip(from: 2, to: 0) - 8e-3) < 1e-12)
    #expect(need.objective == LoadObjective(percentile: 99, latencyNanoseconds: 50_000_000))
    #expect(need.quotaBytes == 4 * 1_073_741_824)
    try need.checked()
  }

  @Test("JSON is YAML")
  func json() throws {
    let need = try NeedFile.need(from: #"{"operations": {"puts": 3.5}, "nodes": 5, "round_trip": "2ms"}"#)
    #expect(need.puts == 3.5 && need.nodes == 5 && abs(need.longestRoundTrip - 2e-3) < 1e-12)
  }

  @Test(
    "what cannot be read is named, with what is possible",
    arguments: [
      ("", "no fields"), ("put: 3", "\"put\" is no field"), ("operations: {put: 3}", "operations.put"),
      ("operations: {puts: many}", "has to be a number"), ("round_trip: 3", "a time such as 500us"),
      ("objective: fast", "p99=20ms"), ("sites: a", "a list of names"), ("nodes: -1", "a whole number from 0 on"),
      ("quota: big", "512MiB"), ("clients_at: moon", "spread or leader"), ("a: [", "no YAML"),
    ])
  func refused(text: String, part: String) {
    do {
      _ = try NeedFile.need(from: text)
      Issue.record("\(text) was read")
    } catch {
      #expect(error.description.contains(part), "\(error)")
    }
  }
}

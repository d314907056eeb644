// The scenarios of `portcullis conformance` about the gateway, its file and its disk: each fenced, where it must pass, and as
// its negative control, where it must fail.

import Foundation
import Testing

@Suite("conformance: files, disks, clocks and tokens", .serialized, .timeLimit(.minutes(3)))
struct GatewayScenarioTests {
  @Test("scenario 10: wall clocks that jump by an hour end no lease early and let no stale write in")
  func clocks() async throws { try await playScenario(10) }

  @Test("scenario 11: the whole machine stands still past the lease, and the late writer is refused")
  func suspended() async throws { try await playScenario(11) }

  @Test("scenario 14: an old backup of the database is closed until the core has spoken")
  func restoredDatabase() async throws { try await playScenario(14) }

  @Test("scenario 15: a core made anew from a backup has a higher incarnation, and the old grants are refused")
  func restoredCore() async throws { try await playScenario(15) }

  @Test("scenario 18: a second gateway on one file is turned away, and past the lock the fence in the file decides")
  func oneFile() async throws { try await playScenario(18) }

  @Test("scenario 19: two gateways on copies of one file are found out by its identity")
  func copies() async throws { try await playScenario(19) }

  private static let hasSQLite = ["/usr/bin/sqlite3", "/usr/bin/python3"].contains {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  @Test(
    "scenario 20: a write around the gateway is refused by a file that guards itself",
    .enabled(if: hasSQLite, "neither sqlite3 nor python3 is there"))
  func around() async throws { try await playScenario(20) }

  @Test("scenario 21: tokens that are forged, unsigned, too long or of elsewhere are refused, and no scope is bricked")
  func badTokens() async throws { try await playScenario(21) }

  @Test(
    "scenario 27: on a disk that fails while raising nobody is told of a grant, and the gateway takes no more writes")
  func failingDisk() async throws { try await playScenario(27) }

  @Test(
    "scenario 29: an old gateway does not serve the file of a newer one",
    .enabled(if: hasSQLite, "neither sqlite3 nor python3 is there"))
  func versions() async throws { try await playScenario(29) }
}

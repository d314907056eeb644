// Our own commands and client as users of a core that has authentication on.

import Client
import Foundation
import Protocol
import Testing

@Suite("--user and --password", .serialized, .timeLimit(.minutes(3)))
struct UserFlagTests {
  private func withUsers(_ body: (Nodes, AuthCalls) async throws -> Void) async throws {
    let nodes = try Nodes()
    try await nodes.found("a")
    try await body(nodes, try await AuthCalls(endpoint: nodes.client("a")).setUp(users: ["ann"]))
    await nodes.stop()
  }

  @Test("commands work as the user that is named, by flag or environment, and say what is wrong with it")
  func commands() async throws {
    try await withUsers { nodes, _ in
      let endpoints = ["PORTCULLIS_ENDPOINTS": nodes.endpoints]
      let named = endpoints.merging(["PORTCULLIS_USER": "root", "PORTCULLIS_PASSWORD": "root"]) { $1 }
      let nobody = try await nodes.run("scopes")
      #expect(nobody.exitCode == 1 && nobody.errors.contains("user name is empty"), "\(nobody.errors)")
      let wrong = try await nodes.run("scopes", "--user", "root:guess")
      #expect(wrong.exitCode == 1 && wrong.errors.contains("authentication failed"), "\(wrong.errors)")
      let silent = try await nodes.run("scopes", "--user", "root")
      #expect(silent.exitCode == 64 && silent.errors.contains("there is no password for root"), "\(silent.errors)")
      let half = try await nodes.run("scopes", "--password", "root")
      #expect(half.exitCode == 64 && half.errors.contains("--password needs --user"), "\(half.errors)")
      for command in [
        ["scopes"], ["grants"], ["sessions"], ["status"], ["member", "list"], ["gateways", "list"],
        ["snapshot", "save", nodes.directory("backup")],
      ] {
        let outcome = try await Program.run(command, environment: named)
        #expect(outcome.exitCode == 0, "\(command): \(outcome.errors)")
      }
      let flags = try await nodes.run("scopes", "--user", "root", "--password", "root")
      #expect(flags.exitCode == 0, "\(flags.errors)")
      let own = try await nodes.run("acquire", "ann/job", "--user", "ann:ann", "--", "true")
      #expect(own.exitCode == 0, "\(own.errors)")
      let other = try await nodes.run("acquire", "job", "--user", "ann:ann", "--", "true")
      #expect(other.exitCode != 0 && other.errors.contains("permission denied"), "\(other.errors)")
    }
  }

  @Test("a client whose token is forgotten by the cluster logs in again")
  func again() async throws {
    try await withUsers { nodes, root in
      let client = Portcullis(
        endpoints: try Endpoint.list(parsing: nodes.endpoints), credentials: Credentials(user: "ann", password: "ann"))
      defer { client.close() }
      _ = try await client.put("ann/a", "1")
      _ = try await root.call(
        RPCPath.Auth.authDisable, Etcdserverpb_AuthDisableRequest(), as: Etcdserverpb_AuthDisableResponse.self)
      _ = try await client.put("ann/a", "2")
      try await AuthCalls(endpoint: nodes.client("a")).enable()
      _ = try await client.put("ann/a", "3")
      #expect(try await client.get("ann/a")?.version == 3)
      await #expect(throws: ClientError.self) { try await client.put("other", "1") }
    }
  }
}

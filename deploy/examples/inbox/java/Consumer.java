import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.UUID;

/**
 * One event, taken once: Consumer URL EVENT_ID EVENT_TIME ORDER_ID AMOUNT.
 *
 * Commit the message's offset after handle() has returned, never before. Any exception: nothing was done, try again.
 */
public class Consumer {
    /** True: done now. False: done before. */
    static boolean handle(Connection conn, UUID eventId, String eventTime, long orderId, long amount) throws SQLException {
        conn.setAutoCommit(false);
        try (PreparedStatement claim = conn.prepareStatement("SELECT inbox.claim('billing', ?, ?::timestamptz)");
             PreparedStatement pay = conn.prepareStatement("INSERT INTO payment (order_id, amount) VALUES (?, ?)")) {
            claim.setObject(1, eventId);
            claim.setString(2, eventTime);
            boolean firstTime;
            try (ResultSet row = claim.executeQuery()) {
                row.next();
                firstTime = row.getBoolean(1);
            }
            if (firstTime) {
                pay.setLong(1, orderId);
                pay.setLong(2, amount);
                pay.executeUpdate();
            }
            conn.commit();
            return firstTime;
        } catch (SQLException e) {
            conn.rollback();
            throw e;
        }
    }

    public static void main(String[] args) throws SQLException {
        try (Connection conn = DriverManager.getConnection(args[0])) {
            boolean firstTime = handle(conn, UUID.fromString(args[1]), args[2], Long.parseLong(args[3]),
                                       Long.parseLong(args[4]));
            System.out.println(firstTime ? "taken" : "seen before");
        } catch (SQLException e) {
            if (!"IB003".equals(e.getSQLState())) {
                throw e;
            }
            System.out.println("too old: to the dead-letter topic"); // it will never be younger: trying again is of no use
        }
    }
}

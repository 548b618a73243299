-- Every auction with its highest bid so far, if it has any.
SELECT a.id AS auction_id, a.item_name AS auction_item_name, b.max_price AS current_highest_bid
FROM auction a
LEFT JOIN (SELECT auction, max(price) AS max_price FROM bid GROUP BY auction) b ON a.id = b.auction
